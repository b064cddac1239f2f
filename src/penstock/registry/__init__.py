"""The control plane's memory: append-only signed events, and the state that is a fold over them."""
