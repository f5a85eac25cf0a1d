"""Files that a run in MLflow has beside its numbers: what they are, and each sent once until it changes."""

import contextlib
import hashlib
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from analysis.results.mlflow_manifest import manifest_tags, read_manifest
from analysis.results.mlflow_names import RESULT, SAMPLES, SPEC, result_at
from experiments.tracking.run_contents import on_the_way
from registry.runs.records import State
from registry.runs.replicate import Replicate

CLIPS = 4  # videos of single clips, beside the grid of several
LARGEST = 20 * 2**20  # bytes of a file
MOST = 60 * 2**20  # bytes of all files of a run
LOG_BYTES = 64 * 2**10  # from the end of the log


@dataclass(frozen=True)
class Artifact:
    """A file as MLflow is to have it.

    Args:
        name: its path among the run's artifacts.
        source: the file, or what a file shall hold.
    """

    name: str
    source: Path | bytes

    @property
    def size(self) -> int:
        """Return its bytes."""
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size

    @property
    def stamp(self) -> str:
        """Return what changes with the content: a digest of bytes, size and time of a file, which is not read."""
        if isinstance(self.source, bytes):
            return hashlib.sha256(self.source).hexdigest()[:12]
        found = self.source.stat()
        return f"{found.st_size}-{found.st_mtime_ns // 10**6:x}"


def artifacts_of(replicate: Replicate, state: State) -> list[Artifact]:
    """Return the files of a replicate's run, the most telling first: samples, spec, provenance, result, the log's end.

    While it runs the log is left out, which would be another one each time.
    """
    previews = replicate.folder / "previews"
    files = {
        f"{SAMPLES}/grid.mp4": previews / "grid.mp4",
        f"{SAMPLES}/contact_sheet.png": previews / "contact_sheet.png",
        **{f"{SAMPLES}/{path.name}": path for path in sorted(previews.glob("clip-*.mp4"))[:CLIPS]},
        SPEC: replicate.folder / "spec.yaml",
        "provenance.json": replicate.training / "provenance.json",
        RESULT: replicate.folder / "result.json",
        **{result_at(step): folder / "result.json" for step, folder in on_the_way(replicate)},
    }
    found = [Artifact(name, path) for name, path in files.items() if path.is_file()]
    if curve := _count_curve(replicate):
        found.append(Artifact("scores/by_number_of_clips.csv", curve))
    if not state.active and (end := _end_of(replicate.training / "log.txt")):
        found.append(Artifact("log_end.txt", end))
    return found


def _count_curve(replicate: Replicate) -> bytes:
    """How each score depends on the number of clips, as a table; nothing where that was not measured."""
    result = replicate.result()
    rows = [
        f"{score},{point.get('n_fake', '')},{point.get('n_real', '')},{point.get('value', '')},{point.get('sd') or ''}"
        for score, details in (result.score_details if result else {}).items()
        if isinstance(details, dict)
        for point in details.get("curve") or ()
    ]
    return "\n".join(["score,generated clips,real clips,value,standard deviation", *rows, ""]).encode() if rows else b""


def _end_of(log: Path) -> bytes:
    with contextlib.suppress(OSError), log.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - LOG_BYTES))
        content = file.read(LOG_BYTES)
        return content if size <= LOG_BYTES else content[content.find(b"\n") + 1 :]
    return b""


def bounded(artifacts: Iterable[Artifact]) -> list[Artifact]:
    """Return the artifacts that are small enough, as many as fit, in their order."""
    kept, total = [], 0
    for artifact in artifacts:
        if artifact.size <= LARGEST and total + artifact.size <= MOST:
            kept.append(artifact)
            total += artifact.size
    return kept


def send(client: Any, run: Any, artifacts: Iterable[Artifact]) -> int:
    """Send what a run does not have or has otherwise; return how many files that were.

    The tags that say what a run has are written last: after a kill the same files are sent again, to the same names.
    A file that the run shall not have any more stays in the store, and these tags do not name it.

    Args:
        client: an MlflowClient.
        run: as MLflow returned it.
        artifacts: that the run shall have.
    """
    had = read_manifest(run.data.tags)
    wanted = {artifact.name: artifact for artifact in bounded(artifacts)}
    changed = {name: artifact for name, artifact in wanted.items() if had.get(name) != artifact.stamp}
    for artifact in changed.values():
        _send(client, run.info.run_id, artifact)
    if changed or had.keys() - wanted.keys():
        stamps = {name: artifact.stamp for name, artifact in wanted.items()}
        for tag, value in manifest_tags(stamps, run.data.tags).items():
            client.set_tag(run.info.run_id, tag, value)
    return len(changed)


def _send(client: Any, run_id: str, artifact: Artifact) -> None:
    place = PurePosixPath(artifact.name)
    folder = None if str(place.parent) == "." else str(place.parent)
    if isinstance(artifact.source, Path) and artifact.source.name == place.name:
        return client.log_artifact(run_id, str(artifact.source), folder)
    content = artifact.source if isinstance(artifact.source, bytes) else artifact.source.read_bytes()
    with tempfile.TemporaryDirectory() as made:  # MLflow names an artifact as its file is named
        path = Path(made) / place.name
        path.write_bytes(content)
        client.log_artifact(run_id, str(path), folder)
