"""Everything that is written to or read from MLflow. The only room that imports mlflow."""
