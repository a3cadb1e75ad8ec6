"""Registered models: versions, aliases, the promotion gate, export and rebuild."""
