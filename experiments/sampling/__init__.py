"""Drawing clips with a trained network, and showing them. May import training and record."""
