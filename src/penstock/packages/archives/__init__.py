"""Other people's archives, one file a kind: what makes a package of each."""
