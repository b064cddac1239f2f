"""What platforms call, one file each; the callables that they look for stand in these modules."""
