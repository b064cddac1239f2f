"""Ways from one release to the next, one a file."""
