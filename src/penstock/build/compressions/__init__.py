"""One file a way of making a graph smaller or quicker; `penstock.build.compression` is their contract."""
