"""Stage 6, what happened: windows of predictions become findings, findings become incidents."""
