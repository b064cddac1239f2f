"""Charts as SVG, drawn on the server: readable on paper, by a screen reader, and without any script."""
