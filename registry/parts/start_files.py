"""Files that parts start from: which file a path names, and its SHA-256, by which it stands in identities.

A part with the parameters `path` and `sha256` reads a file. Its content belongs to the identity, its place does not
(`Spec.science`): where `sha256` is left out, it is filled in when a spec is resolved.
"""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from registry.errors import SpecError, did_you_mean, shortened
from registry.paths import cache_folder, expanded

CHECKPOINTS = "checkpoints"  # folder of a training
KEEP = ".keep"  # ending of a file beside a checkpoint that stays, however many newer ones there are
BLOCK = 2**24  # bytes that are read and hashed at once
DIGESTS = "digests"  # folder in that of the user's cache: one file for each path that was hashed
Stamp = list[int]  # size, time of change and inode of a file


def checkpoints_in(training: Path) -> list[Path]:
    """Return a training's checkpoints, oldest first; files of other names are not ours."""
    found = ((step_of(path), path) for path in (training / CHECKPOINTS).glob("step-*.pt"))
    return [path for step, path in sorted((s, p) for s, p in found if s is not None)]


def kept_steps(training: Path) -> set[int]:
    """Return the steps whose checkpoints stay, because other trainings start from them."""
    found = (step_of(path) for path in (training / CHECKPOINTS).glob(f"step-*{KEEP}"))
    return {step for step in found if step is not None}


def step_of(checkpoint: Path) -> int | None:
    """Return the step of a checkpoint by its name, None for a file that is none."""
    digits = checkpoint.stem.removeprefix("step-")
    return int(digits) if digits.isascii() and digits.isdigit() else None


def file_at(path: str | Path) -> Path:
    """Return the file that a path names: itself, or the newest checkpoint of a training that has made its last step.

    Args:
        path: a file, or the folder of a training, of an evaluation, or of a replicate in a runs folder.

    Raises:
        SpecError: there is nothing there, or a folder without such a checkpoint; the message says what is near.
    """
    place = expanded(path)
    if place.is_file():
        return place
    if not place.is_dir():
        there = sorted(other.name for other in place.parent.iterdir()) if place.parent.is_dir() else []
        hint = did_you_mean(place.name, there) if there else f"and no folder {shortened(str(place.parent))}"
        raise SpecError(f"there is no file or folder {shortened(str(path))!r}; {hint}")
    training = place.resolve()
    if not (training / CHECKPOINTS).is_dir() and (training.parent.parent / CHECKPOINTS).is_dir():
        training = training.parent.parent  # of an evaluation
    found = checkpoints_in(training)
    if not found:
        raise SpecError(f"{shortened(str(path))!r} is no training with a checkpoint: name a file, or train it first")
    if not (training / "trained.json").is_file():
        newest = f"{CHECKPOINTS}/{found[-1].name}"
        raise SpecError(
            f"{shortened(str(path))!r} has not made its last step, so that its newest checkpoint may change: "
            f"let it end, or name one file, such as {newest}"
        )
    last = _read(training / "trained.json").get("steps")
    if step_of(found[-1]) != last:
        raise SpecError(f"{shortened(str(path))!r}: its last checkpoint, of step {last}, is gone; launch it again")
    return found[-1]


def sha256_of(path: Path, progress: Callable[[int, int], None] = lambda done, total: None) -> str:
    """Return the SHA-256 hex digits of a file.

    Args:
        path: of the file.
        progress: is called with the bytes done and all bytes.
    """
    digest, total, done = hashlib.sha256(), path.stat().st_size, 0
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
            done += len(block)
            progress(done, total)
    return digest.hexdigest()


def digest_of(path: str | Path) -> str:
    """Return the SHA-256 of the file that a path names; a file is hashed once, until its size, time or inode change.

    A checkpoint of a runs folder has it written beside. Of a file that is gone the last known one is returned, so that
    results can be read; what is about to be computed asks `file_at` first.

    Raises:
        SpecError: as `file_at`, or the file cannot be read.
    """
    noted = _cache(path)
    try:
        file = file_at(path)
    except SpecError:
        if known := _read(noted).get("sha256"):
            return str(known)
        raise
    ours = file.parent.name == CHECKPOINTS and step_of(file) is not None
    beside = str(_read(file.with_suffix(".json")).get("sha256", "")) if ours else ""
    if len(beside) == 64:
        found, stamp = beside, _stamp(file)
    else:
        stamp, known = _stamp(file), _read(noted)
        if known.get("file") == str(file.resolve()) and known.get("stamp") == stamp:
            return str(known["sha256"])
        try:
            found = sha256_of(file)
        except OSError as error:
            raise SpecError(f"{file}: cannot be read: {error.strerror}") from None
    _write(noted, {"file": str(file.resolve()), "stamp": stamp, "sha256": found})
    return found


def _stamp(file: Path) -> Stamp:
    about = file.stat()
    return [about.st_size, about.st_mtime_ns, about.st_ino]


def _cache(path: str | Path) -> Path:
    name = hashlib.sha256(os.path.abspath(expanded(path)).encode()).hexdigest()[:32]
    return cache_folder() / DIGESTS / f"{name}.json"


def _read(file: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        content = json.loads(file.read_bytes())
        if isinstance(content, dict):
            return content
    return {}


def _write(file: Path, content: dict[str, Any]) -> None:
    """Note a digest; where that is not possible, the file is hashed again another time."""
    if _read(file) == content:
        return
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False) as temporary:
            json.dump(content, temporary)
        os.replace(temporary.name, file)
