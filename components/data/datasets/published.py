"""What the four sets of the paper share: published folders, counts that are checked, wrong trees that are explained.

A published set is a video folder whose folders mean what its publisher means by them. Everything else, the walk, the
index and the readers, is that of `video_folder`.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from components.data.datasets import Inspected, Source
from components.data.datasets.captions import with_captions
from components.data.datasets.video_folder import VideoFolder
from components.data.datasets.wrong_trees import ARCHIVES, IMAGE_LISTS, Tree, archives_in, shown, why_not
from components.data.manifest import VideoRecord
from components.data.video.frame_folder import frame_number, is_picture, pictures_of
from registry.errors import SpecError
from registry.paths import expanded


class PublishedSet(VideoFolder):
    """Videos in the folders of a published set; a subclass says which, how many there are, and where it is published.

    Args:
        path: the root of the set, which holds the folders of the splits.
        resolution: not used; frames are read at their own size.
        form: `videos`, a file each, or `frames`, a folder of pictures in place of each file.

    Raises:
        SpecError: the path is not the root of such a tree; the message says what it is instead.
    """

    places: ClassVar[dict[str, dict[str, str]]] = {}  # form -> split -> its folder below the root
    counts: ClassVar[dict[str, int]] = {}  # videos of each split as published; empty where no count is known
    drawn: ClassVar[dict[str, str]] = {}  # form -> the tree in one line
    published: ClassVar[str] = ""  # where the set is, and its terms
    side: ClassVar[int | None] = None  # of all frames, in pixels, where the set states one

    def __init__(self, path: str | None, resolution: int, *, form: Literal["videos", "frames"] = "videos") -> None:
        self.form = form
        root = expanded(path).absolute() if path else None
        if root is not None and root.exists() and not self.fits(root):
            raise self._wrong(root, why_not(root, self._tree()))
        super().__init__(path, resolution, split_csv="", class_folders=False)

    def identity(self) -> dict[str, Any]:
        """What the folder of the manifest is named by: the set, where it is and its form."""
        return {"name": self.part_name, "path": str(self.root.resolve()), "form": self.form}

    def fits(self, folder: Path) -> bool:
        """Whether a folder is the root of the set: it has the folder of the training videos."""
        return (folder / self.places[self.form]["train"]).is_dir()

    def sources(self) -> list[Source]:
        """Every video of every split, sorted by path.

        Raises:
            SpecError: the folder of the training videos has none; the message says what it has instead.
        """
        found = [
            (split, path, reason or self._wrong_kind(path))
            for split, start in self.starts()
            for path, reason in self._walk(start)
        ]
        if not any(split == "train" and not reason for split, _, reason in found):
            raise self._wrong(self.root, self._why_none([path for _, path, _ in found]))
        sources = (self._source(path, self.label(path), split, reason) for split, path, reason in found)
        return with_captions(sorted(sources, key=lambda source: source.path), self.root)

    def starts(self) -> Iterator[tuple[str, Path]]:
        """(split, folder) of what is walked; splits that are not there are passed over."""
        for split, place in self.places[self.form].items():
            if (self.root / place).is_dir():
                yield split, self.root / place

    def label(self, path: str) -> str:
        """The class of a video: none, these sets have no classes unless a subclass says otherwise."""
        return ""

    def inspect(self, paths: Sequence[str], workers: int = 1) -> Iterator[Inspected]:
        """Decode each once; frame folders whose order would be another one in the official code are rejected."""
        odd = {path: reason for path in paths if (reason := _other_order(self.root / path))}
        yield from (Inspected(path, None, reason) for path, reason in odd.items())
        yield from super().inspect([path for path in paths if path not in odd], workers)

    def remarks(self, records: Sequence[VideoRecord]) -> list[str]:
        """What was expected and found, what is missing and where it is published, and what departs from the set."""
        found = Counter(record.split for record in records)
        expected = ", ".join(f"{count:,} {split}" for split, count in self.counts.items())
        there = ", ".join(f"{found[split]:,} {split}" for split in self.counts or sorted(found))
        if not self.counts:
            told = [
                f"{self.part_name}: found {there} videos; its publishers state no count. Published: {self.published}"
            ]
        elif dict(found) == self.counts:
            told = [f"{self.part_name}: {there} videos, as published"]
        else:
            told = [f"{self.part_name}: expected {expected}, found {there}: {self._how_much(found)}"]
        return [*told, *self._about_sizes(records), *self._about_lists()]

    def _how_much(self, found: Counter[str]) -> str:
        if any(found[split] > count for split, count in self.counts.items()):
            return "more than were published; is it another version, or are there strays?"
        return f"a part of the set. Published: {self.published}"

    def _about_sizes(self, records: Sequence[VideoRecord]) -> list[str]:
        other = [record for record in records if self.side and (record.height, record.width) != (self.side, self.side)]
        if not other:
            return []
        first = f"{other[0].path} is {other[0].width}x{other[0].height}"
        return [
            f"{len(other):,} of {len(records):,} videos are not {self.side}x{self.side} ({first}): {self.part_name} is "
            f"published at {self.side} and not resized by the official code; here data.transform makes them squares"
        ]

    def _about_lists(self) -> list[str]:
        lists = [name for name in IMAGE_LISTS if (self.root / name).is_file()]
        return [f"{name} is not read: the stills of joint training are frames of these videos" for name in lists]

    def _tree(self) -> Tree:
        other = "frames" if self.form == "videos" else "videos"
        places = self.places[other]["train"] if self.places[other] != self.places[self.form] else ""
        written = f"data.dataset: {{name: {self.part_name}, form: {other}}}"
        return Tree(self.drawn[self.form], self.places[self.form]["train"], places, written, self.fits)

    def _wrong(self, root: Path, why: str) -> SpecError:
        return SpecError(
            f"data.path: {root}: {why}. Expected of {self.part_name}: {self.drawn[self.form]} (docs/datasets.md)"
        )

    def _wrong_kind(self, path: str) -> str:
        """Why something found is not of the form that was asked for, "" where it is."""
        is_folder = (self.root / path).is_dir()
        if not is_folder and path.lower().endswith(ARCHIVES):
            return "an archive that is not unpacked"
        if self.form == "videos" and is_folder:
            return "a folder of frames, where video files are expected"
        if self.form == "frames" and not is_folder:
            return "a file, where folders of frames are expected"
        return ""

    def _why_none(self, paths: Sequence[str]) -> str:
        """Why the folder of the training videos has none, given all that was found."""
        tree = self._tree()
        place = tree.train or "the class folders"
        if packed := archives_in(self.root / tree.train):
            return f"{place}: archives that are not unpacked: {shown(packed)}"
        loose = [path for path in paths if is_picture(self.root / path)]
        if loose:
            return (
                f"{place}: pictures such as {loose[0]} lie loose; each video needs a folder of its own for its frames"
            )
        wrong = [path for path in paths if (self.root / path).is_dir() == (self.form == "videos")]
        if not wrong:
            return f"{place}: no video. It is published: {self.published}"
        kinds = {"videos": ("folders of frames", "video files"), "frames": ("files", "folders of frames")}
        found, expected = kinds[self.form]
        where = f" from {tree.other}" if tree.other else ""
        return (
            f"{place}: {found}, such as {wrong[0]}, where {expected} are expected; {tree.other_form} reads them{where}"
        )


def _other_order(path: Path) -> str:
    """Why the official code would put the frames of a folder in another order, "" where it would not.

    It sorts by the integer after the last "_" and before the first "." of a name (golden 10.2); where that is no
    integer it repeats the folder read before (10.4, item 7), which is not done here: the last number counts then.
    """
    for picture in pictures_of(path) if path.is_dir() else ():
        written = picture.name.rsplit("_", 1)[-1].split(".")[0]
        if written.isdecimal() and int(written) != frame_number(picture):
            number = frame_number(picture)
            return f"{picture.name} is frame {int(written)} to the official code and {number} by its last number"
    return ""
