"""Every kind of model that people bring, as they have it: one file a family."""
