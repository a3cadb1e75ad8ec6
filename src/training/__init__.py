"""The training loop and its parts. It does not depend on MLflow, Optuna or DVC; it reports through a Recorder."""
