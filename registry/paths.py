"""Paths as users write them, and where what is kept for a user lies."""

import os
from pathlib import Path

from platformdirs import user_cache_path


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return a path with the home that `~` or `~user` stands for; of a user whom nobody knows, the path as written.

    `Path.expanduser` raises there what no caller expects; whoever opens the path says that it is not there.
    """
    return Path(os.path.expanduser(path))


def cache_folder() -> Path:
    """Return the folder of what is fetched or made once for a user: on Linux in XDG_CACHE_HOME, or in ~/.cache."""
    return user_cache_path("latte-workbench")
