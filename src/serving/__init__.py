"""The HTTP server, and the code that MLflow loads to serve a registered generator."""
