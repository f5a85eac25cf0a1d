"""Features -> scores: the metrics and the numerics that they share."""
