"""The one training loop and its parts. It knows nothing of MLflow, Optuna or DVC: it reports through the Recorder."""
