"""One file per engine; `penstock.adapters` names them."""
