"""What runs a release, one a file."""
