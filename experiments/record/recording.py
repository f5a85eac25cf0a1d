"""Writing a run folder: attempts, events, metrics and the result, each so that a kill leaves it readable."""

import contextlib
import functools
import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Generic

from experiments.record.beside import beside
from registry import strict_yaml
from registry.errors import RunError
from registry.parts.start_files import CHECKPOINTS, KEEP
from registry.runs.attempts import ATTEMPTS, Hint, Kind, is_alive, latest, numbered, take, this_process
from registry.runs.code_used import FILE as CODE_FILE
from registry.runs.files import locked, naming, write_atomically, write_new
from registry.runs.machine import processor_name
from registry.runs.places import DESIRED, LOAD_FILE, PREPARED, SECONDS_FILE
from registry.runs.records import (
    Attempt,
    CodeUsed,
    DamagedError,
    Desired,
    PreparedData,
    Result,
    State,
    read_json,
    read_record,
    sealed,
)
from registry.runs.replicate import Replicate
from registry.runs.stored import read_metrics, read_spec

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
    """Ask for a replicate: make the folders of its training and its evaluation, or check that they hold the same spec.

    Raises:
        RunError: a stored spec is another one under the same identity.
    """
    training, folder = replicate.training, replicate.folder
    folder.mkdir(parents=True, exist_ok=True)
    own = replicate.spec
    for place, kind, identity in ((training, "training", own.training), (folder, "identity", own.identity)):
        if (place / "spec.yaml").exists() and (there := getattr(read_spec(place), kind)) != identity:
            raise RunError(
                f"{place / 'spec.yaml'}: is of {kind} {there}, the folder of {identity}; the stored spec was edited, "
                "or it was written by another version of the workbench"
            )
    if not (training / "provenance.json").exists():
        with contextlib.suppress(FileExistsError):  # another launcher was quicker
            write_new(training / "provenance.json", as_json({"code": dict(code), **machine()}))
    elif dict(code) not in bound_codes(training) and not replicate.state.ended:
        with locked(training):  # another launcher may have other code than both
            if dict(code) not in bound_codes(training):
                provenance = read_json(training / "provenance.json") or {}
                later = [*provenance.get("later_code", ()), dict(code)]
                write_json(training / "provenance.json", {**provenance, "later_code": later})
    text = strict_yaml.dump(replicate.spec.model_dump(mode="json"))
    if replicate.state not in (State.RUNNING, State.DONE):  # the efficiency half may have changed
        write_atomically(training / "spec.yaml", text)
    if not (folder / "result.json").exists():
        write_atomically(folder / "spec.yaml", text)
    link(replicate)
    if replicate.desired() is None:
        desire(replicate, "run")


def stop_unbegun(replicate: Replicate, reason: str) -> None:
    """Say of a replicate that nobody has asked for until now that it is not to be made, and why."""
    replicate.folder.mkdir(parents=True, exist_ok=True)
    write_atomically(replicate.folder / "spec.yaml", strict_yaml.dump(replicate.spec.model_dump(mode="json")))
    desire(replicate, "stop", reason=reason)
    link(replicate)


def keep_step(training: Path, step: int) -> None:
    """Say that a training's checkpoint of a step stays, because other trainings start from it."""
    place = training / CHECKPOINTS / f"step-{step:08d}{KEEP}"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.touch()


def link(replicate: Replicate) -> None:
    """Make the link among the experiment's runs that leads to the replicate's evaluation."""
    place = replicate.link
    target = os.path.relpath(replicate.folder, place.parent)
    if place.is_symlink() and os.readlink(place) == target:
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = place.with_name(f".{place.name}.{uuid.uuid4().hex}.tmp")
    os.symlink(target, temporary)
    os.replace(temporary, place)
    with contextlib.suppress(FileExistsError):
        os.symlink(os.path.join("..", ".."), replicate.folder / "training")


def desire(replicate: Replicate, action: str, *, until: int | None = None, reason: str = "") -> None:
    """Say what the experiment wants of a replicate: `run`, perhaps `until` a step, `cancel`, or `stop` for good."""
    wish = Desired(
        experiment=replicate.experiment, arm=replicate.arm, axes=dict(replicate.axes), action=action, until=until,
        reason=reason, time=time.time(),
    )  # fmt: skip
    folder = replicate.folder / DESIRED
    folder.mkdir(exist_ok=True)
    write_json(folder / f"{replicate.experiment}.json", wish.model_dump(mode="json"))


def open_again(replicate: Replicate, trial: int | None = None) -> None:
    """Let a failed, cancelled or damaged replicate run again, from the training's last checkpoint.

    Args:
        replicate: the one to try again.
        trial: of a search, that gives it a second chance.
    """
    if replicate.damage():
        os.replace(replicate.folder / "result.json", replicate.folder / f"damaged-{int(time.time())}.json")
    desired = replicate.desired()
    if desired is None or desired.over:
        desire(replicate, "run")
    more = {} if trial is None else {"trial": trial}
    Recorder(replicate.training).event("retry", evaluation=replicate.folder.name, **more)


def bind_data(training: Path, data: PreparedData) -> None:
    """Note in a training's folder which prepared data it is trained on, or check that they are the same as before.

    Prepared data with the same content may have moved: their place is renewed.

    Raises:
        RunError: the training came from other data.
    """
    earlier = prepared_data(training)
    if earlier is not None and earlier.autoencoder != data.autoencoder:
        raise RunError(
            f"{training}: its latents came from other weights of the autoencoder; use another --runs folder, or remove "
            "that of the training"
        )
    if earlier is not None and earlier.digest == data.digest and earlier.latents != data.latents:
        raise RunError(
            f"{training}: its latents were standardised by other numbers; use another --runs folder, or remove that of "
            "the training"
        )
    told = (("captions", "captions are others"), ("text_encoder", "captions were encoded by other weights"))
    for key, what in told:
        if earlier is not None and earlier.digest == data.digest and getattr(earlier, key) != getattr(data, key):
            raise RunError(f"{training}: its {what}; use another --runs folder, or remove that of the training")
    if earlier is not None and earlier.digest != data.digest:
        raise RunError(
            f"{training}: was made from other data (manifest {earlier.digest[:10]} in {earlier.folder}; now "
            f"{data.digest[:10]} in {data.folder}); use another --runs folder, or remove that of the training"
        )
    if earlier != data:
        write_json(training / PREPARED, sealed(data.model_dump(mode="json")))


def prepared_data(training: Path) -> PreparedData | None:
    """Return what a training's folder says of its data; None where it says nothing, or is damaged and written anew.

    Checkpoints have the digest of the data as well, so a training does not go on with others meanwhile.
    """
    try:
        return read_record(training / PREPARED, PreparedData)
    except DamagedError:
        return None


def bound_data(training: Path) -> PreparedData | None:
    """Return what a training's folder says of the data that were prepared for it, if they are there."""
    data = prepared_data(training)
    return data if data is not None and Path(data.folder).is_dir() else None


def bound_codes(training: Path) -> list[dict[str, Any]]:
    """Return what a training's folder says of the code of each launch that had something to do there, oldest first."""
    provenance = read_json(training / "provenance.json") or {}
    later = provenance.get("later_code")
    found = [provenance.get("code"), *(later if isinstance(later, list) else ())]
    return [code for code in found if isinstance(code, dict)]


def bound_code(training: Path, snapshot: str | None = None) -> dict[str, Any]:
    """Return what a training's folder says of the code that it was launched with.

    Args:
        training: its folder.
        snapshot: of this frozen copy; left out, of the last launch.
    """
    codes = bound_codes(training)
    if snapshot is not None:
        return next((code for code in codes if code.get("snapshot") == snapshot), {"snapshot": snapshot})
    return codes[-1] if codes else {}


@functools.cache
def machine() -> dict[str, Any]:
    """Host, processor, Python and package versions."""
    versions = {}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    python = platform.python_version()
    processor = processor_name()
    return {
        "host": platform.node(), "processor": processor, "python": python, "packages": versions, "cpus": os.cpu_count()
    }  # fmt: skip


class ClaimedError(RunError):
    """Another process is running the training."""


class Numbered(Generic[Kind]):
    """A numbered file that this process made, and alone writes to.

    Args:
        path: the file.
        content: what it says.
    """

    def __init__(self, path: Path, content: Kind) -> None:
        self.path, self.content = path, content

    @property
    def number(self) -> int:
        return self.content.number

    def note(self, **more: Any) -> None:
        """Add to what it says."""
        self.content = self.content.model_copy(update=more)
        write_json(self.path, self.content.model_dump(mode="json"))


class OwnAttempt(Numbered[Attempt]):
    """One try at a training and its evaluations, made by this process."""

    @property
    def over(self) -> bool:
        """Whether its end is noted."""
        return self.content.ended is not None

    @property
    def superseded(self) -> bool:
        """Whether another process took this one for dead and has begun the next attempt."""
        return bool(numbered(self.path.parent)[-1:] != [self.path])

    def end(self, how: str, requeued: bool = False) -> None:
        """Note that it is over, and whether Slurm will start another one by itself."""
        self.note(ended=time.time(), how=how, requeued=requeued)


def _is_earlier_start(last: Attempt, mine: Mapping[str, Any]) -> bool:
    """Whether an attempt was an earlier start of this very Slurm job, which Slurm has ended before it began anew."""
    return mine["job"] is not None and last.job == mine["job"] and last.restart < mine["restart"]


class Recorder:
    """Appends to the files of one running training, or of an evaluation.

    Args:
        folder: of the training or the evaluation.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextlib.contextmanager
    def attempting(self, hint: Hint | None = None) -> Iterator[OwnAttempt]:
        """Be the only one who runs the training; the number behind a dead attempt's is taken.

        Args:
            hint: what Slurm says of jobs, asked about an attempt of another host.

        Raises:
            ClaimedError: another process is running it, or was quicker to begin.
        """
        folder = self.folder / ATTEMPTS
        last, mine = latest(folder, Attempt), this_process()
        alive = is_alive(last, self.folder / "heartbeat.json", hint)
        if last is not None and alive and not _is_earlier_start(last, mine):
            raise ClaimedError(f"{self.folder}: is being run by process {last.pid} on {last.host}")
        number = 1 + (last.number if last else 0)
        try:
            attempt = OwnAttempt(take(folder, number, mine), Attempt(number=number, **mine))
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

        def beat(ended: threading.Event) -> None:
            while not ended.wait(BEAT_SECONDS):  # the file's time alone, so that no newer content is overwritten
                with contextlib.suppress(OSError):  # a shared file system that is away comes back
                    os.utime(self.folder / "heartbeat.json")

        with beside(beat):
            yield

    def event(self, event: str, **details: Any) -> None:
        """Note what happened to the attempt."""
        self._append("events.jsonl", {"event": event, "time": time.time(), **details})

    def code(self, used: CodeUsed) -> None:
        """Note which code goes on with it from here."""
        self._append(CODE_FILE, {**used.model_dump(mode="json"), "time": time.time()})

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """One line of metrics at an optimiser step."""
        self._append("metrics.jsonl", {"step": step, "time": time.time(), **values})

    def seconds(self, begun: int, until: int, seconds: float) -> None:
        """Note what the steps from one to another have taken."""
        about = {"begun": begun, "until": until, "seconds": round(seconds, 2)}
        self._append(SECONDS_FILE, {"time": time.time(), **about})

    def load(self, values: Mapping[str, float]) -> None:
        """One line on how fast the work is, beside those of `experiments.record.machine_load`."""
        self._append(LOAD_FILE, {"time": time.time(), **values})

    def heartbeat(self, **values: Any) -> None:
        """Overwrite what the running attempt is doing."""
        write_json(self.folder / "heartbeat.json", {"time": time.time(), **values})

    def forget_after(self, step: int) -> None:
        """Drop metrics of steps that a resumed attempt will make again."""
        path = self.folder / "metrics.jsonl"
        if path.exists():
            kept = [line for line in read_metrics(self.folder) if line["step"] <= step]
            write_atomically(path, "".join(json.dumps(line) + "\n" for line in kept))

    def result(self, result: Result) -> None:
        """Write the result, last and at once: from here on the evaluation is done."""
        write_json(self.folder / "result.json", sealed(result.model_dump(mode="json")))

    def _append(self, name: str, record: Mapping[str, Any]) -> None:
        path = self.folder / name
        with naming(path), path.open("ab+") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1))
            broken = file.read(1) not in (b"", b"\n")  # a line that a kill cut short must not swallow this one
            file.write((b"\n" if broken else b"") + json.dumps(record).encode() + b"\n")
