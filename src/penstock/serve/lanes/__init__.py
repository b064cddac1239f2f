"""One file per way of running; `penstock.adapters` names them."""
