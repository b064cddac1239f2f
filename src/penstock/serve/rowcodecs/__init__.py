"""One file per form of a usual request; `penstock.adapters` names them."""
