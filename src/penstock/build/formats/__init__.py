"""One file per format a model may come in; `penstock.adapters` has the table."""
