"""Prepare a dataset: look into every file once, write the manifest, and say what was left out and why."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from components.data.autoencoders import Autoencoder
from components.data.datasets import Dataset, Inspected, Progress, Source, mirrored_labels
from components.data.latent_cache import Encoding, LatentCache
from components.data.manifest import Manifest, VideoRecord, ranks_of, read_rejected
from components.data.video.reader import VideoError, VideoIndex, VideoReader
from registry.errors import RunError
from registry.runs.files import naming, write_atomically

INDEX_VERSION = 2  # counted up when indexing finds other things in the same files
# Counted up when a rule of `why_not_decord` becomes stricter. What earlier rules gave to decord is read by PyAV: the
# frames are those of the same linear decode, so that nothing has to be decoded again and the digest stays.
DECORD_RULES = 2
PICTURE_RULES = 2  # counted up when other pictures of frame folders are left out; then these alone are indexed again


class Prepared:
    """A dataset with its manifest: classes, videos, readers and latent caches.

    Args:
        dataset: the dataset part.
        folder: where its manifest is, as `folder_of` names it.

    Raises:
        RunError: the dataset was not prepared.
    """

    def __init__(self, dataset: Dataset, folder: Path) -> None:
        self.dataset, self.folder = dataset, folder
        self.manifest = Manifest.read(folder)

    @property
    def records(self) -> tuple[VideoRecord, ...]:
        """All readable videos; a video's number is its place here."""
        return self.manifest.records

    @property
    def classes(self) -> list[str]:
        return self.manifest.classes

    @property
    def splits(self) -> list[str]:
        """Names of the splits that have videos."""
        return sorted({record.split for record in self.records})

    @cached_property
    def digest(self) -> str:
        return self.manifest.digest

    @property
    def rejected(self) -> list[tuple[str, str]]:
        """(path, reason) of what was left out."""
        return read_rejected(self.folder)

    def videos(self, split: str | None, frames_needed: int = 1) -> list[int]:
        """Numbers of the videos of a split (None: of all) that have enough frames; RunError where there is none."""
        return self.manifest.usable(split, frames_needed)

    def lengths(self, videos: Iterable[int]) -> list[int]:
        """Frames of each video."""
        return [self.records[video].frames for video in videos]

    def labels(self, videos: Iterable[int], mirrored: Iterable[bool] | None = None) -> list[int]:
        """Class rank of each video, or of its mirror image where it is `mirrored`; 0 where the set has no classes."""
        ranks = [self.records[video].class_rank for video in videos]
        if mirrored is None:
            return ranks
        return [self._in_a_mirror.get(rank, rank) if flip else rank for rank, flip in zip(ranks, mirrored, strict=True)]

    def captions(self, videos: Iterable[int]) -> list[str]:
        """What is seen in each video, in words; "" where nobody says."""
        return [self.records[video].caption for video in videos]

    @cached_property
    def _in_a_mirror(self) -> dict[int, int]:
        """The class of a mirrored clip by that of the clip, where they differ."""
        changed = {old: new for old, new in mirrored_labels(self.dataset).items() if old in self.classes}
        if lost := set(changed.values()) - set(self.classes):
            raise RunError(f"data.flip: no video is of the class {min(lost)}, which some are of in a mirror")
        return {self.classes.index(old): self.classes.index(new) for old, new in changed.items()}

    def reader(self, video: int) -> VideoReader:
        """A reader of the frames of that video; RunError where its file changed since it was prepared."""
        path = self.records[video].path
        entry = self._index.get(path)
        try:
            stamp = self.dataset.stamp(path)
        except OSError:
            raise RunError(f"{path}: is gone since the dataset was prepared; run prepare again") from None
        if entry is None or entry["stamp"] != stamp:
            raise RunError(f"{path}: changed since the dataset was prepared; run prepare again")
        return self.dataset.reader(path, VideoIndex.from_dict(entry["index"]))

    def build_cache(
        self,
        autoencoder: Autoencoder,
        resolution: int,
        transform: str,
        antialias: bool,
        flip: bool,
        progress: Progress | None = None,
    ) -> LatentCache:
        """The latent cache of all videos, built where it is not there yet; see `standardisation` for its scale.

        Args:
            autoencoder: encodes; on whatever device it is.
            resolution: of the encoded frames, in pixels.
            transform: see `components.data.transforms`.
            antialias: see `components.data.transforms`.
            flip: also hold every frame mirrored.
            progress: is called with (label, frames done, frames in all).

        Raises:
            RunError: a video cannot be read any more, or the disk is full.
        """
        encoding = Encoding(self.digest, autoencoder, resolution, transform, antialias)
        folder, lengths = self.folder / "latents" / encoding.key, self.lengths(range(len(self.records)))
        try:
            LatentCache.build(folder, encoding, lengths, self.reader, flip, progress)
        except VideoError as error:
            raise RunError(str(error)) from None
        except OSError as error:
            named = error.filename or folder
            raise RunError(f"{named}: the latent cache cannot be written: {error.strerror}") from None
        train = [video for video, record in enumerate(self.records) if record.split == "train"]
        return LatentCache.open(folder, encoding, lengths, flip).standardised(folder, encoding, train)

    @cached_property
    def _index(self) -> dict[str, dict[str, Any]]:
        return _read_index(self.folder / "index.jsonl")


def folder_of(dataset: Dataset, root: Path) -> Path:
    """The folder of a dataset below `root`: its name and a hash of everything that names its content."""
    identity = dataset.identity()
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return root / f"{identity['name']}-{digest[:10]}"


def prepare(
    dataset: Dataset,
    root: Path,
    needs: Sequence[int] = (),
    workers: int = 1,
    progress: Progress | None = None,
) -> Prepared:
    """Index what is new or changed, write the manifest, and return the prepared dataset.

    What was indexed is kept line by line, so that a prepare that was killed goes on where it stopped. Videos that are
    too short for one of the needs stay in the manifest, since another arm may need less; `rejected.csv` lists them with
    the need. Needs of earlier calls stay listed.

    Args:
        dataset: the dataset part.
        root: folder under which the dataset gets its own folder.
        needs: frames that the clips of each arm need, see `clips.frames_needed`.
        workers: child processes that decode at the same time.
        progress: is called with (label, files done, files in all).

    Raises:
        RunError: nothing that was found can be read; the first reasons are told.
        SpecError: the dataset's path or split CSV is wrong.
    """
    folder = folder_of(dataset, root)
    folder.mkdir(parents=True, exist_ok=True)
    sources = dataset.sources()
    entries = _index_all(dataset, sources, folder / "index.jsonl", workers, progress)
    rejected = [(source.path, source.reason) for source in sources if source.reason]
    rejected += [(path, entry["reason"]) for path, entry in entries.items() if entry["index"] is None]
    readable = [(source, entries[source.path]["index"]) for source in sources if not source.reason]
    ranks = ranks_of(source.label for source, index in readable if index is not None)
    records = [_record(source, index, ranks) for source, index in readable if index is not None]
    if len({bool(record.label) for record in records}) == 2:  # loose videos beside class folders
        rejected += [(r.path, "in no class folder, while other videos are") for r in records if not r.label]
        records = [record for record in records if record.label]
    manifest = Manifest(tuple(sorted(records, key=lambda record: record.path)))
    manifest.write(folder, rejected, _all_needs(folder, needs))
    if not records:
        told = "".join(f"\n  {path}: {reason}" for path, reason in sorted(rejected)[:3])
        raise RunError(
            f"no readable video in the dataset; {len(rejected)} rejected, see {folder / 'rejected.csv'}{told}"
        )
    return Prepared(dataset, folder)


def _index_all(
    dataset: Dataset, sources: list[Source], file: Path, workers: int, progress: Progress | None
) -> dict[str, dict[str, Any]]:
    """The index entry of every source that is not rejected at sight, from the file where its stamp still holds."""
    wanted = {source.path: source.stamp for source in sources if not source.reason}
    known = _read_index(file)
    entries = {path: known[path] for path, stamp in wanted.items() if known.get(path, {}).get("stamp") == stamp}
    new = [path for path in wanted if path not in entries]
    if new:
        with open(file, "a", encoding="utf-8") as out:
            for done, found in enumerate(dataset.inspect(new, workers), start=1):
                entries[found.path] = _entry(found, wanted[found.path])
                if found.repeatable:  # a line of its own even after a line that a kill cut short
                    with naming(file):
                        out.write(f"\n{_line(entries[found.path])}\n")
                        out.flush()
                if progress is not None:
                    progress("indexing videos", done, len(new))
    if new or set(known) != set(entries):
        lines = [_line(entry) for _, entry in sorted(entries.items()) if entry["repeatable"]]
        write_atomically(file, "".join(f"{line}\n" for line in lines))
    return entries


def _entry(found: Inspected, stamp: str) -> dict[str, Any]:
    return {
        "version": INDEX_VERSION,
        "decord_rules": DECORD_RULES,
        "picture_rules": PICTURE_RULES,
        "path": found.path,
        "stamp": stamp,
        "index": None if found.index is None else found.index.to_dict(),
        "reason": found.reason,
        "repeatable": found.repeatable,
    }


def _line(entry: dict[str, Any]) -> str:
    """An entry as a line of index.jsonl, with its checksum."""
    return json.dumps({"checksum": _checksum(entry), **entry})


def _checksum(entry: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(entry).encode()).hexdigest()[:32]


def _read_index(file: Path) -> dict[str, dict[str, Any]]:
    """Entries by path, the last line of a path winning; lines that are damaged or cut short by a kill do not count.

    Trust in decord holds only if it was given by today's rules; else the reader of the entry is PyAV.
    """
    entries: dict[str, dict[str, Any]] = {}
    if file.exists():
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError):
                continue
            whole = isinstance(entry, dict) and entry.pop("checksum", "") == _checksum(entry)
            if whole and entry["version"] == INDEX_VERSION:
                reader = (entry["index"] or {}).get("reader")
                if reader == "pictures" and entry.get("picture_rules") != PICTURE_RULES:
                    continue
                if reader == "decord" and entry.get("decord_rules") != DECORD_RULES:
                    entry["index"]["reader"] = "pyav"
                entries[entry["path"]] = entry
    return entries


def _record(source: Source, index: dict[str, Any], ranks: dict[str, int]) -> VideoRecord:
    return VideoRecord(
        path=source.path,
        label=source.label,
        class_rank=ranks[source.label],
        split=source.split,
        caption=source.caption,
        **{key: index[key] for key in ("frames", "height", "width", "fps", "reader", "sha256", "damaged", "note")},
    )


def _all_needs(folder: Path, needs: Sequence[int]) -> list[int]:
    """These needs and those of earlier calls."""
    try:
        earlier = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["frames_needed"]
    except (OSError, ValueError, KeyError):
        earlier = []
    return sorted({*needs, *earlier})
