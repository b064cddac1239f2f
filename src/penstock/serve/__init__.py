"""Stage 4, the data plane: answers predictions from a package folder and a snapshot file, and needs nothing else."""
