"""The control plane as a process; `python -m penstock.control` is it."""
