"""Where events are kept: one file per implementation of `penstock.registry.store`."""
