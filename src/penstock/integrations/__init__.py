"""Other people's tools that Penstock plugs into; each file is a plugin that its tool loads by an entry point."""
