"""Stage 4, release: moves traffic from one version to the next, one step a turn."""
