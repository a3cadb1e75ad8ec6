"""Runs in MLflow: the store, runs, and the metrics, tags and artifacts that are sent to them."""
