"""Stage 1: a trained model becomes a package: open, compile, prove parity, lock, sign, assemble."""
