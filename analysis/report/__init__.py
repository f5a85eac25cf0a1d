"""One page that stands alone for each experiment, and what a launch leaves to read. May import figures and below."""
