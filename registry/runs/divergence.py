"""How a training says that it diverged: by a loss, or by sampled clips, that are no numbers."""

LOSS = "the loss is not finite"
CLIPS = "are not finite; look at the losses of the training"


def says_diverged(error: str) -> bool:
    """Return whether an error of a training says so."""
    return LOSS in error or CLIPS in error
