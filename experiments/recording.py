"""Writing a run folder: claims, events, metrics, provenance and the result, each so that a kill leaves it readable."""

import contextlib
import fcntl
import json
import os
import platform
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from registry import strict_yaml
from registry.errors import RunError
from registry.files import write_atomically
from registry.runs import Replicate, claim_is_alive, open_replicate, read_json, read_lines, this_process

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


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    write_atomically(path, json.dumps(value, indent=1, sort_keys=False) + "\n")


def create(replicate: Replicate, data: Mapping[str, Any], code: Mapping[str, Any]) -> None:
    """Make the run folder, or check that the one that is there holds the same spec and the same data.

    Raises:
        RunError: the folder's results came from other data, or its spec is another one under the same identity.
    """
    folder = replicate.folder
    folder.mkdir(parents=True, exist_ok=True)
    spec = replicate.spec.model_dump(mode="json")
    stored = strict_yaml.load(folder / "spec.yaml").value if (folder / "spec.yaml").exists() else None
    earlier = read_json(folder / "provenance.json")
    if stored is not None:
        open_replicate(folder)  # refuses a spec that is another one under the same identity
    if earlier is not None and earlier["data"].get("autoencoder") != data.get("autoencoder"):
        raise RunError(
            f"{folder}: its latents came from other weights of the autoencoder; give the experiment another name"
        )
    if earlier is not None and earlier["data"]["digest"] != data["digest"]:
        raise RunError(
            f"{folder}: was made from other data (manifest {earlier['data']['digest'][:10]} in "
            f"{earlier['data']['folder']}; now {data['digest'][:10]} in {data['folder']}); give the experiment another "
            "name, use another --runs folder, or remove the run folder"
        )
    if stored is None or replicate.state in ("missing", "interrupted", "failed"):
        write_atomically(folder / "spec.yaml", strict_yaml.dump(spec))  # the efficiency half may have changed
    about = {"experiment": replicate.experiment, "arm": replicate.arm, "axes": dict(replicate.axes),
             "seed": replicate.seed, "identity": replicate.identity}  # fmt: skip
    if earlier is None:
        write_json(folder / "replicate.json", about)
        write_json(folder / "provenance.json", {"code": dict(code), "data": dict(data), **machine()})


def machine() -> dict[str, Any]:
    """Host, Python and package versions."""
    versions = {}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return {"host": platform.node(), "python": platform.python_version(), "packages": versions, "cpus": os.cpu_count()}


def code_state() -> dict[str, Any]:
    """Commit and uncommitted changes of the code that runs; empty where it is not a git checkout."""
    root = Path(__file__).parent.parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
        return done.stdout if done.returncode == 0 else ""

    try:
        return {"commit": git("rev-parse", "HEAD").strip(), "diff": git("diff", "HEAD")}
    except FileNotFoundError:
        return {"commit": "", "diff": ""}


class ClaimedError(RunError):
    """Another process is running the replicate."""


class Recorder:
    """Appends to the files of one running replicate.

    Args:
        folder: the run folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Hold the folder's claim; a dead owner's claim is taken over.

        Raises:
            RunError: another process holds it.
        """
        path = self.folder / "claim"
        mine = path.with_name(f".claim.{os.getpid()}.tmp")
        write_json(mine, this_process())
        try:
            # A link appears at once with its content, and only one process can make it. Taking over a dead owner's
            # claim is done under a lock, so that nobody removes the claim of whoever was quicker.
            with path.with_name(".claim.lock").open("w") as lock:
                with contextlib.suppress(OSError):  # some file systems have no locks; the link still holds
                    fcntl.flock(lock, fcntl.LOCK_EX)
                if path.exists() and not claim_is_alive(self.folder):
                    path.unlink(missing_ok=True)
                os.link(mine, path)
        except FileExistsError:
            owner = read_json(path) or {}
            raise ClaimedError(
                f"{self.folder}: is being run by process {owner.get('pid')} on {owner.get('host')}"
            ) from None
        finally:
            mine.unlink(missing_ok=True)
        try:
            yield
        finally:
            if (read_json(path) or {}).get("pid") == os.getpid():  # not that of somebody who took us for dead
                path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def beating(self) -> Iterator[None]:
        """Keep the heartbeat's file recent while the work inside is silent, so that other hosts see it alive."""
        if not (self.folder / "heartbeat.json").exists():
            self.heartbeat(stage="starting", step=0, steps=0)
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(BEAT_SECONDS):  # the file's time alone, so that no newer content is overwritten
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
