"""Paths as users write them."""

import os
from pathlib import Path


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return a path with the home that `~` or `~user` stands for; of a user whom nobody knows, the path as written.

    `Path.expanduser` raises there what no caller expects; whoever opens the path says that it is not there.
    """
    return Path(os.path.expanduser(path))
