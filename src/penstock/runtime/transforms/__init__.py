"""Declared steps before and behind a model, one a file; the contract is `penstock.runtime.transform`."""
