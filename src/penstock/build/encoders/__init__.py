"""Text networks as graphs."""
