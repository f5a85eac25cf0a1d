"""Claims -> verdicts: evidence, looks, trends, seeds until decided, and warnings. May import results and statistics."""
