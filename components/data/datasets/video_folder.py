"""The user's own videos: files and frame folders below one folder, with classes and splits where there are any."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from components.data.datasets import Inspected, Source, captions
from components.data.datasets.tables import rows
from components.data.video.frame_folder import is_picture, pictures_of
from components.data.video.index_worker import index_videos
from components.data.video.reader import VideoIndex, VideoReader
from components.data.video.readers import open_reader
from registry.errors import SpecError
from registry.parts.catalogue import part
from registry.paths import expanded

SPLIT_FOLDERS = {"train", "val", "test"}
IGNORED = {"thumbs.db", "desktop.ini"}


@part("dataset", "video_folder")
class VideoFolder:
    """Videos below a folder, class per folder, with an optional split CSV; video files and frame folders may mix.

    Source: paper section 4.1 (datasets); reading as in the reference's datasets/ (a class is the rank of its folder's
        name).
    Official code: yes, but ours differs where it has defects: files are sorted, strays are rejected with a reason.

    Found are all files and frame folders (folders with pictures and no other files but hidden ones and text) below the
    path; hidden files are passed over. The class is the first folder below the path, none where a video lies directly
    in it. If the only folders there are `train`, `val` and `test`, or some of them, they are the splits and the classes
    lie below them; without that and without a CSV all is `train`. A split CSV names all videos: the columns `path`
    (relative to the CSV's folder, and of a video below the path), `split`, and `label` if there are classes; other
    columns are not read, and files that it does not name are rejected. `captions.csv` (columns `path` and `caption`)
    says in words what is seen. A mirrored clip (`data.flip`) keeps its class: leave flipping at 0 where a class is a
    direction.

    Args:
        path: the folder.
        resolution: not used; frames are read at their own size.
        split_csv: file below the path; by default `split.csv` where there is one. "" never uses one.
        class_folders: whether the first folder is a class; if not, videos may lie at any depth.

    Raises:
        SpecError: the path is no folder, the CSV cannot be used, or it is not plain what the splits are.
    """

    part_name: ClassVar[str]  # set by its mark

    def __init__(
        self, path: str | None, resolution: int, *, split_csv: str | None = None, class_folders: bool = True
    ) -> None:
        if not path:
            raise SpecError(f"data.path: the dataset {self.part_name} needs the folder of the videos")
        self.root = expanded(path).absolute()  # a name such as `a:b.mp4` alone would be read as a protocol
        if not self.root.is_dir():
            raise SpecError(f"data.path: {path}: no such folder")
        self.class_folders = class_folders
        if split_csv is None:
            self.split_csv = self.root / "split.csv" if (self.root / "split.csv").is_file() else None
        else:
            self.split_csv = self.root / split_csv if split_csv else None
        if self.split_csv is not None and not self.split_csv.is_file():
            raise SpecError(f"data.dataset.split_csv: {self.split_csv}: no such file")

    def identity(self) -> dict[str, Any]:
        """What the folder of the manifest is named by: where the videos are and how they are split."""
        split = None if self.split_csv is None else os.path.relpath(self.split_csv, self.root)
        path = str(self.root.resolve())
        return {"name": "video_folder", "path": path, "split_csv": split, "class_folders": self.class_folders}

    def sources(self) -> list[Source]:
        """Every video file and frame folder, and every other file with the reason why it is none."""
        found = dict(self._walk(self.root))
        sources = self._by_folders(found) if self.split_csv is None else self._by_csv(self.split_csv, found)
        return captions.with_captions(sorted(sources, key=lambda source: source.path), self.root)

    def inspect(self, paths: Sequence[str], workers: int = 1) -> Iterator[Inspected]:
        """Decode each once, in guarded child processes."""
        names = {self.root / path: path for path in paths}
        for path, index, reason, repeatable in index_videos(list(names), workers):
            yield Inspected(names[path], index, reason, repeatable)

    def reader(self, path: str, index: VideoIndex) -> VideoReader:
        """The reader that the index found exact."""
        return open_reader(self.root / path, index)

    def picture_format(self, path: str) -> str:
        """How the pictures of a frame folder are stored: `jpeg`, or `raw` for lossless forms."""
        return "jpeg" if pictures_of(self.root / path)[0].suffix.lower() in (".jpg", ".jpeg") else "raw"

    def stamp(self, path: str) -> str:
        """Size and modification time; of a frame folder, of all its pictures."""
        full = self.root / path
        if not full.is_dir():
            status = full.stat()
            return f"{status.st_size}-{status.st_mtime_ns}"
        statuses = [picture.stat() for picture in pictures_of(full)]
        size, newest = sum(s.st_size for s in statuses), max((s.st_mtime_ns for s in statuses), default=0)
        return f"{len(statuses)}-{size}-{newest}"

    def mirrored_labels(self) -> dict[str, str]:
        """No class changes: what is seen in a mirror is called the same."""
        return {}

    def _walk(self, start: Path) -> Iterator[tuple[str, str]]:
        """(path, reason or "") of everything below a folder, which is the root or lies below it."""
        unreadable: list[OSError] = []
        visited: set[Path] = set()
        tables = {file.resolve() for file in (self.root / captions.FILE, self.split_csv) if file and file.is_file()}
        for folder, folders, files in os.walk(start, followlinks=True, onerror=unreadable.append):
            here = Path(folder)
            if here.resolve() in visited:  # a link that leads back
                folders.clear()
                continue
            visited.add(here.resolve())
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            names = [name for name in sorted(files) if not name.startswith(".") and name.lower() not in IGNORED]
            pictures = {name for name in names if is_picture(here / name)}
            others = [
                name for name in names if name not in pictures and not name.lower().endswith((".txt", ".csv", ".json"))
            ]
            is_frame_folder = bool(pictures) and not others and not folders and here != start
            if is_frame_folder:
                yield self._relative(here), ""
                names = [name for name in names if name not in pictures]
            for name in names:
                path = here / name
                if tables and path.resolve() in tables:
                    continue
                yield (
                    self._relative(path),
                    "" if is_readable(path) else "a single picture or a file that cannot be read",
                )
        for error in unreadable:
            yield self._relative(Path(error.filename)), f"a folder that cannot be read ({error.strerror})"

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _source(self, path: str, label: str, split: str, reason: str) -> Source:
        printable = path.encode("utf-8", "backslashreplace").decode()
        if printable != path:
            return Source(printable, "", split, "", "its name is not UTF-8")
        try:
            return Source(path, label, split, "" if reason else self.stamp(path), reason)
        except OSError as error:
            return Source(path, label, split, "", f"cannot be read ({error.strerror})")

    def _by_folders(self, found: dict[str, str]) -> list[Source]:
        tops = {path.split("/")[0] for path in found if "/" in path}
        has_splits = bool(tops) and tops <= SPLIT_FOLDERS
        if "train" in tops and len(tops & SPLIT_FOLDERS) > 1 and not has_splits:
            beside = ", ".join(sorted(tops - SPLIT_FOLDERS)[:3])
            raise SpecError(
                f"data.path: {self.root}: {', '.join(sorted(tops & SPLIT_FOLDERS))} are splits only where no other "
                f"folders lie beside them, and there is {beside}; move that away, or say in a split.csv which is which"
            )
        sources = []
        for path, reason in found.items():
            parts = path.split("/")
            split = parts.pop(0) if has_splits and len(parts) > 1 else "train"
            label = parts[0] if len(parts) > 1 and self.class_folders else ""
            sources.append(self._source(path, label, split, reason))
        return sources

    def _by_csv(self, file: Path, found: dict[str, str]) -> list[Source]:
        sources = []
        named = set()
        base = file.parent
        for line, row in rows(file, ("path", "split")):
            where = f"{file}:{line}"
            path = Path(os.path.relpath(base / row["path"], self.root)).as_posix()
            if os.path.isabs(row["path"]) or path.split("/")[0] in ("..", "."):
                raise SpecError(
                    f"{where}: {row['path']} is not the path of a video below {self.root}, relative to the folder of "
                    f"{file.name}; link what lies elsewhere into that folder"
                )
            if path in named:
                raise SpecError(f"{where}: {row['path']} is named twice")
            if not (row.get("split") or ""):
                raise SpecError(f"{where}: {row['path']} has no split")
            named.add(path)
            full = self.root / path
            reason = found.get(
                path, "" if full.is_file() or full.is_dir() else f"named in {file.name}, but there is none"
            )
            label = row.get("label") or "" if self.class_folders else ""
            sources.append(self._source(path, label, row["split"], reason))
        return sources + [
            self._source(path, "", "", reason or f"not named in {file.name}")
            for path, reason in found.items()
            if path not in named
        ]


def is_readable(path: Path) -> bool:
    """Whether it is worth looking inside: a regular file that may be opened and is not a single picture."""
    return path.is_file() and os.access(path, os.R_OK) and not is_picture(path)
