"""MLflow as a view of the run folders. May import record."""
