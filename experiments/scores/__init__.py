"""Sampling with a trained network, and scores with their floors. May import training, tracking and record."""
