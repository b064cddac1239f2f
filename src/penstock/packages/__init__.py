"""What a package is: its manifest, its digests, its signature, its archive; opened nowhere else."""
