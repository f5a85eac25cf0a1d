"""Writing a run folder: attempts, events, metrics and the result, each so that a kill leaves it readable."""

import contextlib
import functools
import json
import os
import platform
import threading
import time
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from registry import strict_yaml
from registry.errors import RunError
from registry.runs.attempts import ATTEMPTS, Hint, is_alive, latest, numbered, read_json, take, this_process
from registry.runs.files import write_atomically, write_new
from registry.runs.run_folder import Replicate, open_replicate, read_lines

BEAT_SECONDS = 60.0
PACKAGES = (
    "torch",
    "numpy",
    "diffusers",
    "timm",
    "decord",
    "av",
    "pillow",
    "clean-fid",
    "scipy",
    "pandas",
    "mlflow",
    "submitit",
    "latte-workbench",
)


def as_json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=1, sort_keys=False) + "\n"


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    write_atomically(path, as_json(value))


def create(replicate: Replicate, code: Mapping[str, Any]) -> None:
    """Make the run folder, or check that the one that is there holds the same spec.

    Raises:
        RunError: its spec is another one under the same identity.
    """
    folder = replicate.folder
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "spec.yaml").exists():
        open_replicate(folder)  # refuses a spec that is another one under the same identity
        if replicate.state in ("running", "done"):
            return
    about = {"experiment": replicate.experiment, "arm": replicate.arm, "axes": dict(replicate.axes),
             "seed": replicate.seed, "identity": replicate.identity}  # fmt: skip
    files = {"replicate.json": about, "provenance.json": {"code": dict(code), **machine()}}
    for name, content in files.items():
        if not (folder / name).exists():
            with contextlib.suppress(FileExistsError):  # another launcher was quicker
                write_new(folder / name, as_json(content))
    # Last, since it says that the folder is whole; and again, since the efficiency half may have changed.
    write_atomically(folder / "spec.yaml", strict_yaml.dump(replicate.spec.model_dump(mode="json")))


def bind_data(folder: Path, data: Mapping[str, Any]) -> None:
    """Note in a run folder which prepared data it is trained on, or check that they are those of its earlier attempts.

    Raises:
        RunError: the folder's results came from other data.
    """
    provenance = read_json(folder / "provenance.json") or {}
    earlier = provenance.get("data")
    if earlier is None:
        write_json(folder / "provenance.json", {**provenance, "data": dict(data)})
    elif earlier.get("autoencoder") != data.get("autoencoder"):
        raise RunError(
            f"{folder}: its latents came from other weights of the autoencoder; give the experiment another name"
        )
    elif earlier["digest"] != data["digest"]:
        raise RunError(
            f"{folder}: was made from other data (manifest {earlier['digest'][:10]} in "
            f"{earlier['folder']}; now {data['digest'][:10]} in {data['folder']}); give the experiment another "
            "name, use another --runs folder, or remove the run folder"
        )


def bound_data(folder: Path) -> dict[str, Any] | None:
    """What a run folder says of the data that were prepared for it, if they are there."""
    data: dict[str, Any] | None = (read_json(folder / "provenance.json") or {}).get("data")
    return data if data is not None and Path(data["folder"]).is_dir() else None


@functools.cache
def machine() -> dict[str, Any]:
    """Host, Python and package versions."""
    versions = {}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return {"host": platform.node(), "python": platform.python_version(), "packages": versions, "cpus": os.cpu_count()}


class ClaimedError(RunError):
    """Another process is running the replicate."""


class Numbered:
    """A numbered file that this process made, and alone writes to.

    Args:
        path: the file.
        content: what it says.
    """

    def __init__(self, path: Path, content: Mapping[str, Any]) -> None:
        self.path, self.content = path, dict(content)

    @property
    def number(self) -> int:
        return int(self.path.stem)

    def note(self, **more: Any) -> None:
        """Add to what it says."""
        self.content |= more
        write_json(self.path, self.content)


class Attempt(Numbered):
    """One try at a replicate."""

    @property
    def over(self) -> bool:
        """Whether its end is noted."""
        return "ended" in self.content

    @property
    def superseded(self) -> bool:
        """Whether another process took this one for dead and has begun the next attempt."""
        return bool(numbered(self.path.parent)[-1:] != [self.path])

    def end(self, how: str, requeued: bool = False) -> None:
        """Note that it is over, and whether Slurm will start another one by itself."""
        self.note(ended=time.time(), how=how, requeued=requeued)


def _is_earlier_start(last: Mapping[str, Any], mine: Mapping[str, Any]) -> bool:
    """Whether an attempt was an earlier start of this very Slurm job, which Slurm has ended before it began anew."""
    return mine["job"] is not None and last["job"] == mine["job"] and last["restart"] < mine["restart"]


class Recorder:
    """Appends to the files of one running replicate.

    Args:
        folder: the run folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextlib.contextmanager
    def attempting(self, hint: Hint | None = None) -> Iterator[Attempt]:
        """Be the only one who runs the replicate; the number behind a dead attempt's is taken.

        Args:
            hint: what Slurm says of jobs, asked about an attempt of another host.

        Raises:
            ClaimedError: another process is running it, or was quicker to begin.
        """
        folder = self.folder / ATTEMPTS
        last, mine = latest(folder), this_process()
        alive = is_alive(last, self.folder / "heartbeat.json", hint)
        if last is not None and alive and not _is_earlier_start(last, mine):
            raise ClaimedError(f"{self.folder}: is being run by process {last['pid']} on {last['host']}")
        number = 1 + (last["number"] if last else 0)
        try:
            attempt = Attempt(take(folder, number, mine), {"number": number, **mine})
        except FileExistsError:
            raise ClaimedError(f"{self.folder}: another process has just begun to run it") from None
        try:
            yield attempt
        finally:
            if not attempt.over:
                attempt.end("left")

    @contextlib.contextmanager
    def beating(self) -> Iterator[None]:
        """Keep the heartbeat's file recent while the work inside is silent, so that other hosts see it alive."""
        if not (self.folder / "heartbeat.json").exists():
            self.heartbeat(stage="starting", step=0, steps=0)
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(BEAT_SECONDS):  # the file's time alone, so that no newer content is overwritten
                with contextlib.suppress(OSError):  # a shared file system that is away comes back
                    os.utime(self.folder / "heartbeat.json")

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def event(self, event: str, **details: Any) -> None:
        """Note what happened to the attempt."""
        self._append("events.jsonl", {"event": event, "time": time.time(), **details})

    def control(self, action: str, *, until: int | None = None, reason: str = "") -> None:
        """Say what is wanted of the replicate: `run`, perhaps `until` a step only, `cancel`, or `stop` for good."""
        wish = {"action": action, "until": until, "reason": reason, "time": time.time()}
        write_json(self.folder / "control.json", wish)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """One line of metrics at an optimiser step."""
        self._append("metrics.jsonl", {"step": step, "time": time.time(), **values})

    def heartbeat(self, **values: Any) -> None:
        """Overwrite what the running attempt is doing."""
        write_json(self.folder / "heartbeat.json", {"time": time.time(), **values})

    def forget_after(self, step: int) -> None:
        """Drop metrics of steps that a resumed attempt will make again."""
        path = self.folder / "metrics.jsonl"
        if path.exists():
            kept = [line for line in read_lines(path) if line["step"] <= step]
            write_atomically(path, "".join(json.dumps(line) + "\n" for line in kept))

    def result(self, result: Mapping[str, Any]) -> None:
        """Write the result, last and at once: from here on the replicate is done."""
        write_json(self.folder / "result.json", result)

    def _append(self, name: str, record: Mapping[str, Any]) -> None:
        with (self.folder / name).open("ab+") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1))
            broken = file.read(1) not in (b"", b"\n")  # a line that a kill cut short must not swallow this one
            file.write((b"\n" if broken else b"") + json.dumps(record).encode() + b"\n")
