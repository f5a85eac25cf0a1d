"""Scores with their floors. May import sampling, training, tracking and record."""
