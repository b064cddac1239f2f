"""The web console: server-rendered pages over the same App as the API, charts drawn here as SVG."""
