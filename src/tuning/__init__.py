"""The search for better parameters. The only room that imports optuna."""
