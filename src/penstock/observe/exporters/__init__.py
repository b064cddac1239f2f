"""One file per receiver of what was answered; each keeps the contract of `observe.exporter`."""
