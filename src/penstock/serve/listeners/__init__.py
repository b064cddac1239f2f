"""What takes bytes from a network and hands calls to the flow."""
