"""The REST API: what the use cases of `penstock.app` look like over HTTP."""
