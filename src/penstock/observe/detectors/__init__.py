"""One file per way of looking at a window of predictions; each keeps the contract of `observe.detector`."""
