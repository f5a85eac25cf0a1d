"""One replicate brought to its result by the process that runs it. May import scores and below, not plan."""
