"""The manifest: which videos there are, what is in them, and which were rejected for what reason.

Files in the folder of a prepared dataset:
    manifest.csv   one row a readable video, sorted by path; a video's number is its row
    rejected.csv   path, reason: everything found that is not used
    manifest.json  digest, classes, counts, the clip lengths that were asked for, and the checksum of manifest.csv
    index.jsonl    one line a file that was looked into: how to read it exactly, or why it cannot be read; each line
                   has a checksum, and one that does not match it is not read
"""

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.data.clips import class_ranks
from registry.errors import RunError
from registry.runs.files import write_atomically

COLUMNS = (
    "path", "label", "class", "split", "frames", "height", "width", "fps", "reader", "sha256", "damaged", "note",
    "caption",
)  # fmt: skip


@dataclass(frozen=True)
class VideoRecord:
    """One row of manifest.csv.

    Attributes:
        path: the video's name in its dataset, with "/".
        label: class name, "" where there are no classes.
        class_rank: number of the class among the sorted names, 0 where there are no classes.
        split: `train`, `test` or what the split CSV says.
        frames: how many can be had.
        height: of the upright picture, in pixels.
        width: of the upright picture, in pixels.
        fps: as the file states it.
        reader: which reader is exact for it.
        sha256: of the content.
        damaged: packets or pictures left out.
        note: oddities, in words.
        caption: what is seen, in words, "" where nobody says. Not part of the digest: latents do not depend on it.
    """

    path: str
    label: str
    class_rank: int
    split: str
    frames: int
    height: int
    width: int
    fps: float
    reader: str
    sha256: str
    damaged: int
    note: str
    caption: str = ""


@dataclass(frozen=True)
class Manifest:
    """All readable videos of a dataset, sorted by path."""

    records: tuple[VideoRecord, ...]

    @property
    def classes(self) -> list[str]:
        """Class names by rank; empty where the set has no classes."""
        return sorted({record.label for record in self.records if record.label})

    @property
    def digest(self) -> str:
        """Hash of everything that training and scores can depend on; the same on every machine."""
        digest = hashlib.sha256()
        for r in self.records:
            row = [r.path, r.label, r.class_rank, r.split, r.frames, r.height, r.width, r.sha256, r.damaged]
            digest.update(json.dumps(row).encode() + b"\n")
        return digest.hexdigest()

    @property
    def captions_digest(self) -> str:
        """Hash of the captions with the paths that have one; "" where none has."""
        rows = [[record.path, record.caption] for record in self.records if record.caption]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest() if rows else ""

    @property
    def captions_of_classes(self) -> list[str]:
        """The caption that all videos of a class share, by rank; "" where they have none or several."""
        said: list[set[str]] = [set() for _ in self.classes]
        for record in self.records if said else ():
            said[record.class_rank].add(record.caption)
        return [next(iter(captions)) if len(captions) == 1 else "" for captions in said]

    def usable(self, split: str | None = None, frames_needed: int = 1) -> list[int]:
        """Numbers of the videos of a split (None: of all) that have enough frames.

        Raises:
            RunError: there is none; the message says how many are too short.
        """
        inside = [k for k, record in enumerate(self.records) if split in (None, record.split)]
        long_enough = [k for k in inside if self.records[k].frames >= frames_needed]
        if not long_enough:
            where = f"in the split {split!r}" if split is not None else "in the dataset"
            splits = ", ".join(sorted({record.split for record in self.records})) or "none"
            if not inside:
                raise RunError(f"no video {where}; splits that have videos: {splits}")
            longest = max(self.records[k].frames for k in inside)
            raise RunError(
                f"no video {where} has the {frames_needed} frames that a clip needs; the longest of {len(inside)} has "
                f"{longest}: make data.frames or data.interval smaller"
            )
        return long_enough

    def too_short(self, needs: Sequence[int]) -> list[tuple[str, str]]:
        """(path, reason) of the videos that are too short for clips of one of those needs in frames."""
        found = []
        for record in self.records:
            unmet = [str(need) for need in sorted(needs) if record.frames < need]
            if unmet:
                frames = "1 frame" if record.frames == 1 else f"{record.frames} frames"
                found.append((record.path, f"too short: {frames}, a clip needs {' or '.join(unmet)}"))
        return found

    def write(self, folder: Path, rejected: Iterable[tuple[str, str]], needs: Sequence[int]) -> None:
        """Write manifest.csv, rejected.csv and manifest.json, each whole or not at all."""
        rows = [
            (r.path, r.label, r.class_rank if r.label else "", r.split, r.frames, r.height, r.width, r.fps, r.reader,
             r.sha256, r.damaged, r.note, r.caption)
            for r in self.records
        ]  # fmt: skip
        left_out, table = [*rejected, *self.too_short(needs)], _csv(COLUMNS, rows)
        write_atomically(folder / "manifest.csv", table)
        write_atomically(folder / "rejected.csv", _csv(("path", "reason"), sorted(left_out)))
        splits = sorted({record.split for record in self.records})
        summary = {
            "digest": self.digest,
            "classes": self.classes,
            "videos": len(self.records),
            "rejected": len(left_out),
            "frames": sum(record.frames for record in self.records),
            "splits": {split: sum(record.split == split for record in self.records) for split in splits},
            "frames_needed": sorted(needs),
            "manifest_sha256": hashlib.sha256(table.encode()).hexdigest(),
        }
        write_atomically(folder / "manifest.json", json.dumps(summary, indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Read manifest.csv; RunError where the dataset was not prepared, or the file is not what prepare wrote."""
        try:
            content = (folder / "manifest.csv").read_bytes()
        except FileNotFoundError:
            raise RunError(f"{folder}: no manifest.csv; run prepare first") from None
        if hashlib.sha256(content).hexdigest() != _noted_sha256(folder):
            raise RunError(
                f"{folder / 'manifest.csv'}: is not what prepare wrote (its checksum is not that in manifest.json): "
                "damaged, edited, or of an earlier version; run prepare again"
            )
        rows = csv.DictReader(io.StringIO(content.decode(), newline=""))
        return cls(
            tuple(
                VideoRecord(
                    path=row["path"],
                    label=row["label"],
                    class_rank=int(row["class"] or 0),
                    split=row["split"],
                    frames=int(row["frames"]),
                    height=int(row["height"]),
                    width=int(row["width"]),
                    fps=float(row["fps"]),
                    reader=row["reader"],
                    sha256=row["sha256"],
                    damaged=int(row["damaged"]),
                    note=row["note"],
                    caption=row.get("caption") or "",
                )
                for row in rows
            )
        )


def read_rejected(folder: Path) -> list[tuple[str, str]]:
    """(path, reason) of everything that prepare left out."""
    with open(folder / "rejected.csv", newline="", encoding="utf-8") as file:
        return [(row["path"], row["reason"]) for row in csv.DictReader(file)]


def ranks_of(labels: Iterable[str]) -> dict[str, int]:
    """Class number by name; the empty label has none and counts as 0."""
    return {"": 0, **class_ranks(label for label in labels if label)}


def _noted_sha256(folder: Path) -> str:
    """The checksum of manifest.csv that manifest.json has, "" where it has none."""
    try:
        return str(json.loads((folder / "manifest.json").read_bytes())["manifest_sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    out = io.StringIO()
    # Every text is quoted: a name may have a carriage return in it, which is read as the end of a line otherwise.
    writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue()
