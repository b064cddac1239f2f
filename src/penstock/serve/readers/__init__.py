"""Readers that are worth their import only for some bodies; `penstock.adapters` names them."""
