"""Pickle-like files: told by their bytes, and read without running them."""
