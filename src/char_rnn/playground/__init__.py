"""The page that writes with models in a browser, and its server."""
