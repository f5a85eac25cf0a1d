"""Datasets: what they offer, whatever they are made of."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from components.data.manifest import VideoRecord
from components.data.video.reader import VideoIndex, VideoReader
from registry.errors import SpecError

Progress = Callable[[str, int, int], None]  # (what is being done, how many are done, of how many)


@dataclass(frozen=True)
class Source:
    """One thing that a dataset found and that may be a video.

    Attributes:
        path: its name in the manifest, with "/", unique.
        label: class name, or "" where there are no classes.
        split: `train` or `test`, or what the split CSV says.
        stamp: changes whenever the content may have changed (size and modification time).
        reason: why it is rejected without a look inside; "" where it is to be indexed.
        caption: what is seen, in words, "" where nobody says.
    """

    path: str
    label: str
    split: str
    stamp: str
    reason: str = ""
    caption: str = ""


@dataclass(frozen=True)
class Inspected:
    """What indexing one source gave: an index or a reason, and whether the same would come out again."""

    path: str
    index: VideoIndex | None
    reason: str = ""
    repeatable: bool = True


class Dataset(Protocol):
    """What every dataset part offers; constructed with (path, resolution, *, parameters)."""

    def identity(self) -> dict[str, Any]:
        """What the folder of the manifest is named by."""
        ...

    def sources(self) -> list[Source]:
        """Everything found, sorted by path; quick, nothing is decoded."""
        ...

    def inspect(self, paths: Sequence[str], workers: int = 1) -> Iterator[Inspected]:
        """Index those sources by one full decode each, in any order."""
        ...

    def reader(self, path: str, index: VideoIndex) -> VideoReader:
        """A reader of the frames of one source."""
        ...

    def stamp(self, path: str) -> str:
        """The source's stamp as it is now."""
        ...

    def mirrored_labels(self) -> dict[str, str]:
        """The class of a mirrored clip by the class of the clip, for the classes that mirroring changes.

        Raises:
            SpecError: a mirrored clip belongs to no class of this set; the message begins with `data.flip:`.
        """
        ...


def mirrored_labels(dataset: Dataset) -> dict[str, str]:
    """What `data.flip` does to the labels of a data set; see `Dataset.mirrored_labels`.

    Raises:
        SpecError: the data set refuses mirroring, or does not say what it does.
    """
    if not hasattr(dataset, "mirrored_labels"):
        name = getattr(dataset, "part_name", type(dataset).__name__)
        raise SpecError(
            f"data.flip: the dataset {name} does not say what mirroring does to its labels (by a method "
            "mirrored_labels, which returns {} where they stay); set data.flip to 0"
        )
    return dataset.mirrored_labels()


def remarks(dataset: Dataset, records: Sequence[VideoRecord]) -> list[str]:
    """What a data set has to say of the readable videos that were found: counts against those published, and the like.

    A data set that knows what it should hold has a method `remarks(records)`; others say nothing.
    """
    told: list[str] = dataset.remarks(records) if hasattr(dataset, "remarks") else []
    return told
