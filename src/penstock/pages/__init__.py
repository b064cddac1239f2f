"""Pages that need nothing else: reports and cards that are one HTML file."""
