"""One file per check; each is reached through the adapters' table."""
