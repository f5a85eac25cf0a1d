"""What the files of a run folder say: frozen records, validated as they are read, so that a damaged file is known.

Keys that a record does not know are kept, so that files of a later version can be read.
"""

import hashlib
import json
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from registry.errors import RunError

LAYOUT = 3  # of run folders; 1 and 2 had a folder a replicate, with its training and its scores in one


class State(StrEnum):
    """How far a replicate, or a training, is."""

    MISSING = "missing"
    QUEUED = "queued"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    FAILED = "failed"
    DAMAGED = "damaged"  # its result is there and cannot be believed
    CANCELLED = "cancelled"
    PAUSED = "paused"
    STOPPED = "stopped"
    DONE = "done"

    @property
    def active(self) -> bool:
        """Whether it waits or runs."""
        return self in (State.QUEUED, State.RUNNING)

    @property
    def startable(self) -> bool:
        """Whether `launch` starts it."""
        return self in (State.MISSING, State.INTERRUPTED)

    @property
    def retried(self) -> bool:
        """Whether `retry` opens it again."""
        return self in (State.FAILED, State.CANCELLED, State.DAMAGED)

    @property
    def ended(self) -> bool:
        """Whether nothing is to be done about it."""
        return self in (State.DONE, State.STOPPED)


class Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")


class Owner(Record):
    """The process that made a numbered file: an attempt, a submission, or a lease."""

    number: int
    host: str
    node: str = ""
    pid: int
    started: str | None = None  # what tells it from a later process of that number: boot id and start ticks
    time: float
    job: str | None = None  # its Slurm job, such as 1234_5
    restart: int = 0  # how often Slurm had started that job before
    ended: float | None = None


class Attempt(Owner):
    """One try at a training and its evaluations."""

    how: str = ""  # it ended: done, failed, interrupted, paused, cancelled, stopped, left
    requeued: bool = False


class Submission(Owner):
    """The sending of a training to an executor; `job` is the Slurm job that it became."""

    executor: str = ""
    token: str = ""  # of the launch
    beside: list[str] = []  # folders of the trainings that the same Slurm job takes in turn with this one


class Desired(Record):
    """What one experiment wants of an evaluation, and which of its arms it is."""

    experiment: str
    arm: str
    axes: dict[str, str] = {}
    action: str = "run"  # run, cancel (until `retry`), or stop (for good)
    until: int | None = None  # a step to pause at
    reason: str = ""
    time: float = 0.0

    @property
    def over(self) -> bool:
        """Whether the experiment wants no more of it."""
        return self.action in ("cancel", "stop")


class Event(Record):
    """What happened to an attempt; `evaluation` where it concerns one evaluation and not the training."""

    event: str  # started, failed, interrupted, paused, cancelled, stopped, retry, done
    time: float = 0.0
    evaluation: str | None = None
    step: int = 0
    seconds: float = 0.0
    reason: str = ""
    error: str = ""
    traceback: str = ""
    progress: list[int] | None = None
    trial: int | None = None


class Heartbeat(Record):
    """What the running attempt is doing."""

    stage: str = ""
    step: int = 0
    steps: int = 0
    time: float = 0.0
    loss: float | None = None
    steps_per_second: float | None = None


class LatentStatistics(Record):
    """The mean and spread of each latent channel over the training split, by which latents are standardised."""

    encoding: str  # what made the latents
    mean: tuple[float, ...]
    spread: tuple[float, ...]


class PreparedData(Record):
    """The prepared data that a training is trained on."""

    digest: str  # of the manifest
    folder: str
    videos: int
    autoencoder: str  # fingerprint of what encoded the latents
    latents: LatentStatistics | None = None  # what they are standardised by; None where the autoencoder states a scale
    captions: str = ""  # digest of the captions with their videos; empty where no network reads them
    text_encoder: str = ""  # fingerprint of what encoded the captions


class CodeUsed(Record):
    """The code with which one attempt worked on a training or an evaluation.

    `begun_at` is how much was there: steps of the training; files and bytes of the evaluation. `frozen` says which
    copies of the code ran, by `workbench` and the names of plug-ins; what ran where it was edited is not in it.
    `until` is the step that a training went back for while its later checkpoints stayed: for these it did nothing.
    `digests` are those of the source, by part (`model.blocks.variant_1`) and loop (`training loop`).
    """

    attempt: int
    begun_at: int
    until: int | None = None
    time: float = 0.0
    frozen: dict[str, str] = {}
    digests: dict[str, str]


class MadeBy(Record):
    """Digests of the source that made a training and its evaluation, by part and loop; several where it changed."""

    training: dict[str, list[str]] = {}
    evaluation: dict[str, list[str]] = {}


class Trained(Record):
    """What there is to say of a training that has made its last step."""

    training: str
    seed: int
    steps: int
    parameters: int
    validation_split: str
    data_digest: str
    seconds: float
    attempts: int
    device: str
    processes: int


class Imported(Record):
    """Where a training that was made elsewhere comes from: `imported.json` of a training of no steps."""

    path: str  # of the file, absolute
    digest: str  # of the file, SHA-256
    bytes: int
    layout: str
    form: str
    kinds: list[str]  # of weights, that the file has
    step: int | None  # that the file says it is of
    time: float


class Result(Record):
    """The scores of one evaluation, written last: with it the evaluation is done."""

    identity: str
    training: str
    evaluation: str
    seed: int
    scores: dict[str, float]
    score_details: dict[str, Any] = {}
    protocol: dict[str, Any] = {}
    protocols: dict[str, str] = {}
    protocol_specs: dict[str, dict[str, Any]] = {}
    step: int
    steps: int
    parameters: int = 0
    validation_split: str = ""
    data_digest: str | None = None
    reference: str = ""
    seconds: float = 0.0
    seconds_of: dict[str, float] = {}
    pace: dict[str, float] = {}  # of the training: the figures of `PACE` that are known
    attempts: int = 0
    device: str = ""
    processes: int = 1
    code: dict[str, Any] = {}
    made_by: MadeBy = MadeBy()


class SampledClip(Record):
    """One clip that the verb `sample` drew: its class (None without classes) or caption, and its video."""

    number: int
    label: int | None = None
    name: str = ""
    caption: str = ""
    file: str
    sha256: str


class Samples(Record):
    """What a folder of sampled clips holds, and how they were drawn: its `samples.json`.

    `settings` are all that a clip depends on; a folder holds clips of one. `pictures` are SHA-256 by file. `num` clips
    are wanted; `clips` are there. `code` are digests of the source that drew them, by part and loop.
    """

    source: str
    settings: dict[str, Any]
    num: int
    clips: list[SampledClip] = []
    pictures: dict[str, str] = {}
    notes: list[str] = []
    device: str = ""
    batch: int = 0
    code: dict[str, str] = {}
    machine: dict[str, Any] = {}


class Floor(Record):
    """A floor of one metric under one protocol.

    `of` says whose it is: the autoencoder, or the replicate; empty for real clips. `values` are at the score's counts
    of clips `n_fake` and `n_real`, one a draw; `measured` are what came out at the counts `measured_at`. `videos` and
    `measured_videos` are of how many videos these clips are, on the fake and on the real side; floors from before these
    were counted have none. Where `higher_is_better`, the score of real clips is no unit of effects, and may be
    exceeded.
    """

    floor: str  # real_halves, reconstruction or resampled
    metric: str
    protocol: str
    of: str
    values: list[float]
    n_fake: int
    n_real: int
    measured: list[float] = []
    measured_at: list[int] = []
    videos: list[int] = []
    measured_videos: list[int] = []
    higher_is_better: bool = False


class DamagedError(RunError):
    """A file that is there and does not hold what it should."""


Kind = TypeVar("Kind", bound=Record)


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the object in a JSON file, or None where it is absent, not yet whole, or no object."""
    try:
        value = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def read_record(path: Path, kind: type[Kind]) -> Kind | None:
    """Return the record in a JSON file, or None where there is no file.

    Raises:
        DamagedError: the file holds something else, or was changed since it was sealed.
    """
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        value = json.loads(text)
        if not isinstance(value, dict):
            raise ValueError(f"expected an object, found {type(value).__name__}")
        mark = value.pop("sha256", None)
        if mark is not None and mark != _seal(value):
            raise ValueError("its content does not match its checksum")
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise DamagedError(f"{path}: is damaged: {where}: {first['msg']}") from None
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{path}: is damaged: {error or 'empty'}") from None


def sealed(value: dict[str, Any]) -> dict[str, Any]:
    """Return a record's content with the checksum that `read_record` holds it against."""
    return {**value, "sha256": _seal(value)}


def _seal(value: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
