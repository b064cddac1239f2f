"""The dialects that clients speak; each is reached through the adapters' table."""
