"""Generators, discriminators and the judge, with their descriptions (JSON) and weights (safetensors)."""
