"""PyTorch's files read without running them, and its models as originals."""
