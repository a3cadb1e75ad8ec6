"""Generators, discriminators and the auxiliary classifier, their description (JSON) and their weights (safetensors)."""
