"""Triton's model folders: their configuration, and whether the graph is what it says."""
