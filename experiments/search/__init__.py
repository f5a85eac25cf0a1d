"""What decides which replicates go on: Optuna's search, and successive halving. May import launch and below."""
