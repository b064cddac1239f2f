"""What a model needs to run: requirements, locks, and the environment made of them."""
