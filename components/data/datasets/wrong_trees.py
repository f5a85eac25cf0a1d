"""Why a folder is not the tree of a published set: a look at fixed places near it, never a search.

Looked at are the folder itself, up to `ABOVE` folders above it, and those directly in it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

ABOVE = 3  # folders above that are looked at: `train/videos` is two below its set
SHOWN = 3  # names that a message shows
ARCHIVES = (".zip", ".rar", ".tar", ".tgz", ".gz", ".7z", ".bz2", ".xz")
IMAGE_LISTS = ("train_list.txt", "train_256_list.txt")


@dataclass(frozen=True)
class Tree:
    """What the tree of a set looks like.

    Args:
        drawn: the tree in one line, for messages.
        train: the folder of the training videos below the root, "" where it is the root.
        other: the folder of the training videos in the set's other form, "" where it is the same.
        other_form: how that form is asked for.
        fits: whether a folder is the root of such a tree.
    """

    drawn: str
    train: str
    other: str
    other_form: str
    fits: Callable[[Path], bool]


def why_not(root: Path, tree: Tree) -> str:
    """Return why this folder, or file, is not the root of such a tree, and what to do; tree.fits(root) is false."""
    if root.is_file():
        return _a_file(root)
    for levels, above in enumerate(root.parents[:ABOVE], start=1):
        if tree.fits(above):
            return f"{_folders(levels)} too low: give {above}"
    below = [folder for folder in folders_of(root) if tree.fits(folder)]
    if len(below) == 1:
        return f"one folder too high: give {below[0]}"
    if below:
        names = shown(folder.name for folder in below)
        return f"{names} are each such a tree: give one of them, or let the dataset video_folder read this arrangement"
    if spelled := _other_spelling(root, tree.train):
        return f"has {spelled}, where {tree.train} is expected, and names are case-sensitive: rename it"
    if tree.other and (root / tree.other).is_dir():
        return f"has {tree.other} and no {tree.train}: {tree.other_form} reads that"
    if packed := archives_in(root):
        return f"holds archives that are not unpacked: {shown(packed)}"
    if lists := [name for name in IMAGE_LISTS if (root / name).is_file()]:
        return (
            f"holds {lists[0]}, which lists images for the official joint training and is not read here; the videos "
            "are what is needed"
        )
    found = sorted(path.name for path in root.iterdir() if not path.name.startswith("."))
    return f"has no {tree.train or 'class folder'}; " + (f"it holds {shown(found)}" if found else "it is empty")


def _a_file(root: Path) -> str:
    if root.name in IMAGE_LISTS:
        return (
            "a list of images for the official joint training, which is not read here; give the folder of the set, "
            "in which the videos lie"
        )
    if root.suffix.lower() in ARCHIVES:
        return "an archive: unpack it and give the folder that it makes"
    return "a file: give the folder of the set"


def folders_of(root: Path) -> list[Path]:
    """The folders directly in a folder, sorted, without hidden ones; none where it cannot be read."""
    try:
        return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return []


def archives_in(folder: Path) -> list[str]:
    """The names of the archives directly in a folder."""
    return sorted(path.name for path in folder.iterdir() if path.suffix.lower() in ARCHIVES and path.is_file())


def shown(names: Iterable[str]) -> str:
    """The first names, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - SHOWN:,} more" if len(listed) > SHOWN else ""
    return ", ".join(listed[:SHOWN]) + more


def _folders(count: int) -> str:
    return "one folder" if count == 1 else f"{count} folders"


def _other_spelling(root: Path, place: str) -> str:
    """The path below the root that differs from the place in upper and lower case alone, "" where there is none."""
    here, spelled = root, []
    for wanted in filter(None, place.split("/")):
        names = [folder.name for folder in folders_of(here)]
        same = [name for name in names if name == wanted] or [name for name in names if name.lower() == wanted.lower()]
        if not same:
            return ""
        spelled.append(same[0])
        here = here / same[0]
    return "/".join(spelled)
