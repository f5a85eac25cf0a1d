"""The training loop: steps, processes, checkpoints. May import record."""
