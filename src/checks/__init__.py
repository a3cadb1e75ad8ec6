"""Checks of the machine, the packages and the pipeline, for ``python -m src.doctor``."""
