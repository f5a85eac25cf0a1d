"""One replicate brought to its result by the process that runs it. May import scores and below, not plan."""

from registry.runs.machine import look_rarely_for_garbage

look_rarely_for_garbage()  # before anything large is imported
