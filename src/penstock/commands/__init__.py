"""One file per verb; each turns words typed into one call of `penstock.app`, and the answer into a screen."""
