"""Stage 7, what it meant: outcomes joined to predictions, scores, proposals, retraining."""
