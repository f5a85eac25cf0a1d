"""Where trainings and their evaluations lie, and what their files say of their state. Plain files are the truth.

runs/_trainings/<training>/seed-<n>/           a training: what is learned once, whoever asks for it
    spec.yaml         what is trained              provenance.json  code, packages, host
    prepared.json     the data it is trained on    checkpoints/     full training state
    events.jsonl      what happened to attempts    metrics.jsonl    one line a logged step
    attempts/         0001.json, …: who ran it     submissions/     0001.json, …: who sent it to an executor
    heartbeat.json    step and speed now           log.txt          what it printed
    trained.json      written behind the last step
    code.jsonl        digests of the code that worked on it
    system.jsonl      load of the machine meanwhile
    evaluations/<evaluation>/                  one way to sample and score it
        spec.yaml     the resolved spec            samples/         sampled clips, uint8
        desired/      <experiment>.json: who wants it, as which arm, and whether still
        previews/     the same to be looked at     metrics.jsonl    its scores as points
        code.jsonl    as above
        result.json   written last: its presence means done
runs/_trainings/<training>-earlier-<k>/        what other code made, set aside; evaluations likewise
runs/<experiment>/<arm>-<identity>/seed-<n>    a link to the evaluation that is this replicate's
runs/<experiment>/floors.json                  what the scores are where nothing can be better
runs/_data/                                    prepared data sets: manifests, latent caches, reference statistics
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from registry import strict_yaml
from registry.errors import RunError, SpecError
from registry.experiment.arms import Arm
from registry.parts.start_files import checkpoints_in as checkpoints_in
from registry.parts.start_files import kept_steps as kept_steps
from registry.parts.start_files import step_of as step_of
from registry.runs.attempts import ATTEMPTS, SUBMISSIONS, Hint, is_alive, latest, numbered
from registry.runs.records import (
    Attempt,
    DamagedError,
    Desired,
    Event,
    Floor,
    Heartbeat,
    Result,
    State,
    Submission,
    Trained,
    read_json,
    read_record,
)
from registry.schema.differences import differing
from registry.schema.search import is_trial
from registry.schema.spec import Spec, only_with_effect

DATA_FOLDER = "_data"
TRAININGS = "_trainings"
EVALUATIONS, DESIRED = "evaluations", "desired"  # folders of a training, and of an evaluation
EARLIER = "-earlier-"  # and a number: behind the name of a training or an evaluation that was set aside
FLOORS_FILE = "floors.json"
PREPARED = "prepared.json"  # of a training
IMPORTED = "imported.json"  # of a training that was made elsewhere
LAUNCHES = "_launches"  # folder in that of the experiment: one a launch, with submitit's files and logs


@dataclass(frozen=True)
class Replicate:
    """An arm with a seed: one evaluation of one training.

    Args:
        experiment: its name.
        arm: its name in the experiment.
        axes: axis -> the label of the arm's value on it.
        identity: of the arm's science.
        seed: of the training.
        training: the training's folder.
        folder: the evaluation's folder, in that of the training.
        link: the replicate's place among the experiment's runs, a link to `folder`.
        spec: of the arm.
        step: an earlier step than the arm's own, where it is evaluated on its way.
    """

    experiment: str
    arm: str
    axes: Mapping[str, str]
    identity: str
    seed: int
    training: Path
    folder: Path
    link: Path
    spec: Spec = field(repr=False, compare=False)
    step: int | None = None

    @property
    def name(self) -> str:
        return f"{self.arm} seed {self.seed}" + (f" at step {self.step}" if self.step is not None else "")

    @property
    def state(self) -> State:
        """Return what the files alone say; `state_with` also asks Slurm."""
        return self.state_with(None)

    def state_with(self, hint: Hint | None) -> State:
        """Return what the files say: done beats everything, what the experiment wants the rest.

        Args:
            hint: what Slurm says of jobs; where it was not asked or did not answer, the files decide.
        """
        try:
            if self._read_result() is not None:
                return State.DONE
        except DamagedError:
            return State.DAMAGED
        desired = self.desired()
        if desired is None:
            return State.MISSING
        attempt = latest(self.training / ATTEMPTS, Attempt)
        alive = is_alive(attempt, self.training / "heartbeat.json", hint)
        if desired.over and (not alive or self.wanted_elsewhere()):
            return State.STOPPED if desired.action == "stop" else State.CANCELLED
        if alive:
            return State.RUNNING
        events = self.events()
        if has_failed(events):
            return State.FAILED
        last = events[-1] if events else None
        if last and last.event == "paused" and desired.until is not None and last.step >= desired.until:
            return State.PAUSED
        if self._is_queued(attempt, hint):
            return State.QUEUED
        begun = last is not None and last.event != "retry"
        return State.INTERRUPTED if begun or self.checkpoints() else State.MISSING

    def _is_queued(self, attempt: Attempt | None, hint: Hint | None) -> bool:
        """Whether it waits for its turn: Slurm has its job, or, if Slurm was not asked, no attempt has used it up."""
        submission = self.submission()
        if submission is None:
            return False
        if submission.job is None:  # it is being submitted, unless the submitting process died over it
            return is_alive(submission)
        told = hint(submission.job) if hint is not None else None
        if told is None:
            return attempt is None or attempt.job != submission.job or attempt.requeued
        return told != ""

    def attempts(self) -> list[Attempt]:
        """Return who ran the training, oldest first."""
        found = (_readable(path, Attempt) for path in numbered(self.training / ATTEMPTS))
        return [attempt for attempt in found if attempt is not None]

    def submission(self) -> Submission | None:
        """Return the newest time that the training was sent to an executor."""
        return latest(self.training / SUBMISSIONS, Submission)

    def desired(self) -> Desired | None:
        """Return what this experiment wants of the evaluation, None where it never asked for it."""
        return _readable(self.folder / DESIRED / f"{self.experiment}.json", Desired)

    def wanted_elsewhere(self) -> bool:
        """Return whether another experiment still wants something of the training."""
        return any(desired.experiment != self.experiment for _, desired in wanted(self.training))

    def events(self) -> list[Event]:
        """Return what happened to the training and to this evaluation, oldest first."""
        return [event for event in read_events(self.training) if event.evaluation in (None, self.folder.name)]

    def last_word(self) -> Event | None:
        """Return what was said last of why there is no result; that an attempt has done all it could is no reason."""
        return next((event for event in reversed(self.events()) if event.event != "done"), None)

    def metrics(self) -> list[dict[str, Any]]:
        """Return the logged lines of the training, and behind them those of the evaluation."""
        return [line for folder in (self.training, self.folder) for line in read_metrics(folder)]

    def checkpoints(self) -> list[Path]:
        """Return the training's full-state checkpoints, oldest first."""
        return checkpoints_in(self.training)

    def result(self) -> Result | None:
        """Return the result, None where there is none that can be believed."""
        try:
            return self._read_result()
        except DamagedError:
            return None

    def damage(self) -> str:
        """Return what is wrong with the result, empty where nothing is."""
        try:
            self._read_result()
        except DamagedError as error:
            return str(error)
        return ""

    def _read_result(self) -> Result | None:
        result = read_record(self.folder / "result.json", Result)
        if result is not None:
            for name, told, own in (
                ("training", result.training, self.spec.training),
                ("evaluation", result.evaluation, self.spec.evaluation),
                ("seed", result.seed, self.seed),
            ):
                if told != own:
                    raise DamagedError(f"{self.folder / 'result.json'}: is of {name} {told}, not of {own}")
        return result

    def heartbeat(self) -> Heartbeat | None:
        """Return what the running attempt is doing."""
        return _readable(self.training / "heartbeat.json", Heartbeat)

    def row(self) -> dict[str, Any]:
        """Return the replicate as `analysis.results.load` takes it.

        Raises:
            RunError: a finished replicate's stored spec no longer hashes to its identity.
        """
        state = self.state
        if state is State.DONE:
            read_spec(self.folder, self.identity)
        result = self.result()
        return {
            "experiment": self.experiment,
            "arm": self.arm,
            "axes": dict(self.axes),
            "seed": self.seed,
            "identity": self.identity,
            "training": self.training.parent.name,
            "evaluation": self.folder.name,
            "state": str(state),
            "folder": str(self.folder),
            "result": result.model_dump(mode="json") if result else None,
        }


def training_name(spec: Spec) -> str:
    """Return the name of a training's folder: its identity, and a mark of its data's place where it has one.

    The same spec on other videos is another training; what the videos are is only known when they are prepared.
    """
    path = spec.data.path
    if path is None:
        return spec.training
    place = str(Path(path).expanduser().resolve())
    return f"{spec.training}-{hashlib.sha256(place.encode()).hexdigest()[:6]}"


def start_of(replicate: Replicate) -> Path | None:
    """Return the training that a replicate starts from, or its checkpoint of a step; None where it starts from none.

    Raises:
        RunError: that training has not come so far here, its checkpoint is gone, or several have, of other videos.
    """
    values = replicate.spec.learning.initialisation.parameters
    if not (identity := values.get("training")):
        return None
    seed = replicate.seed if values.get("seed") is None else values["seed"]
    names = [path.name for path in replicate.training.parent.parent.glob(f"{identity}*") if EARLIER not in path.name]
    places = [replicate.training.parent.parent / name / f"seed-{seed}" for name in names]
    step = values.get("step")
    if step is None:
        places = [place for place in places if trained(place) is not None]
    else:
        places = [path for place in places for path in checkpoints_in(place) if step_of(path) == step]
    mark = training_name(replicate.spec).removeprefix(replicate.spec.training)
    places = [place for place in places if identity + mark in place.parts] or places
    if len(places) == 1:
        return places[0]
    what = f"{values['experiment']}, arm {values['arm']}, seed {seed} (training {identity})"
    if places:
        raise RunError(f"learning.initialisation: several trainings of other videos are {what}: name one by its path")
    if step is not None:
        raise RunError(
            f"learning.initialisation: {what} has no checkpoint of step {step} here: launch this experiment's file, "
            "which makes it first; where that step was evaluated before anybody started from it, its checkpoint was "
            "not kept: remove that evaluation's folder before"
        )
    raise RunError(f"learning.initialisation: {what} is not trained here yet: launch that experiment first")


def folder_name(arm: str, identity: str) -> str:
    """Return a folder name for an arm: its name as far as file systems bear it, and its identity."""
    plain = "".join(c if c.isalnum() or c in "=._,-" else "-" for c in arm)[:80]
    return f"{plain}-{identity}"


def link_of(experiment: Path, arm: str, identity: str, seed: int, step: int | None = None) -> Path:
    """Return the place of a replicate among the runs of its experiment.

    Args:
        experiment: the experiment's folder.
        arm: its name.
        identity: of the arm.
        seed: of the training.
        step: an earlier one than the arm's own, where it is evaluated there.
    """
    place = experiment / folder_name(arm, identity)
    return (place if step is None else place / f"at-step-{step}") / f"seed-{seed}"


def replicate_of(experiment: str, arm: Arm, seed: int, runs: Path, step: int | None = None) -> Replicate:
    """Return the replicate of an arm and a seed.

    Args:
        experiment: its name.
        arm: of the experiment.
        seed: of the training.
        runs: the folder of all runs.
        step: an earlier one than the arm's own to evaluate at.
    """
    spec = arm.spec
    if step is not None:
        spec = spec.model_copy(update={"sampling": spec.sampling.model_copy(update={"step": step})})
    training = runs / TRAININGS / training_name(spec) / f"seed-{seed}"
    return Replicate(
        experiment=experiment,
        arm=arm.name,
        axes=arm.axes,
        identity=spec.identity,
        seed=seed,
        training=training,
        folder=training / EVALUATIONS / spec.evaluation,
        link=link_of(runs / experiment, arm.name, arm.identity, seed, step),
        spec=spec,
        step=step,
    )


def replicates(experiment: str, arms: Iterable[Arm], seeds: Iterable[int], runs: Path) -> list[Replicate]:
    """Return every replicate of an experiment, arm by arm, seed by seed."""
    seeds = list(seeds)
    return [replicate_of(experiment, arm, seed, runs) for arm in arms for seed in seeds]


def open_replicate(folder: Path) -> Replicate:
    """Return the replicate of an evaluation's folder, or of an experiment's link to one, from its stored spec.

    Its experiment and arm are those that asked for it first, or, through a link, those of the link.

    Raises:
        RunError: the folder is none, or its stored spec no longer hashes to its identity (it was edited, or the
            meaning of a key changed).
    """
    link = folder if folder.is_symlink() else None
    folder = folder.resolve()
    if folder.parent.name != EVALUATIONS or not (folder / "spec.yaml").exists():
        if (folder / "replicate.json").exists():
            raise RunError(f"{folder}: was written by an earlier version of the workbench, which had other run folders")
        raise RunError(f"{folder}: no run folder (it is no evaluation of a training)")
    training = folder.parent.parent
    spec = read_spec(folder)
    if spec.evaluation != folder.name.split(EARLIER)[0] or not training.parent.name.startswith(spec.training):
        raise RunError(
            f"{folder / 'spec.yaml'}: hashes to evaluation {spec.evaluation} of training {spec.training}, which the "
            "folder is not; the stored spec was edited, or it was written by another version of the workbench"
        )
    asked = sorted(desires(folder), key=lambda desired: (link is None or desired.experiment != link.parent.parent.name,
                                                         desired.time))  # fmt: skip
    desired = asked[0] if asked else Desired(experiment="", arm="")
    return Replicate(
        desired.experiment, desired.arm, desired.axes, spec.identity, int(training.name.removeprefix("seed-")),
        training, folder, link or folder, spec,
    )  # fmt: skip


def is_replicate(folder: Path) -> bool:
    """Return whether a folder is an evaluation's, or a link to one."""
    return folder.resolve().parent.name == EVALUATIONS and (folder / "spec.yaml").exists()


def read_spec(folder: Path, identity: str | None = None) -> Spec:
    """Return the spec that is stored in a folder of a training or of an evaluation.

    Args:
        folder: where it lies.
        identity: of the whole spec, if it is known.

    Raises:
        RunError: it cannot be read, is no spec of this version, or hashes to another identity.
    """
    path = folder / "spec.yaml"
    try:
        text = strict_yaml.read(path)
    except SpecError as error:
        raise RunError(str(error)) from None
    try:
        spec = _spec_in(text)
    except SpecError as error:
        raise RunError(f"{folder}/{error}") from None
    except ValueError as error:
        raise RunError(f"{path}: is no spec of this version: {error}") from None
    if identity is not None and spec.identity != identity:
        raise RunError(
            f"{path}: hashes to {spec.identity}, the folder is {identity}; the stored spec was edited, or it was "
            "written by another version of the workbench"
        )
    return spec


@lru_cache(maxsize=256)
def _spec_in(text: str) -> Spec:
    """The spec that a text says; the folders of an arm's seeds hold the same one, which is parsed once."""
    return Spec.model_validate(strict_yaml.parse(text, "spec.yaml").value)


def evaluations_in(training: Path) -> list[Path]:
    """Return the evaluations of a training that somebody asked for, by name."""
    return sorted(path.parent for path in (training / EVALUATIONS).glob("*/spec.yaml"))


def desires(evaluation: Path) -> list[Desired]:
    """Return what each experiment that asked for an evaluation wants of it."""
    found = (_readable(path, Desired) for path in sorted((evaluation / DESIRED).glob("*.json")))
    return [desired for desired in found if desired is not None]


def wanted(training: Path) -> list[tuple[Path, Desired]]:
    """Return the evaluations without a result that are still wanted, once for each experiment that wants them."""
    return [
        (folder, desired)
        for folder in evaluations_in(training)
        if not (folder / "result.json").exists()
        for desired in desires(folder)
        if not desired.over
    ]


def has_failed(events: Iterable[Event]) -> bool:
    """Return whether the last that is said of a training, or of one evaluation, is that it failed."""
    failed = False
    for event in events:
        failed = (failed or event.event == "failed") and event.event != "retry"
    return failed


def trained(training: Path) -> Trained | None:
    """Return what there is to say of a training that has made its last step."""
    return _readable(training / "trained.json", Trained)


def training_state(training: Path, spec: Spec, hint: Hint | None = None) -> State:
    """Return how far a training is, whoever wants it.

    Args:
        training: its folder.
        spec: of an arm that wants it; its step is as far as it need go.
        hint: what Slurm says of jobs, if it was asked.
    """
    attempt, submission = latest(training / ATTEMPTS, Attempt), latest(training / SUBMISSIONS, Submission)
    reached = [step_of(path) or 0 for path in checkpoints_in(training)]
    if trained(training) is not None or max(reached, default=-1) >= spec.step:
        return State.DONE
    if is_alive(attempt, training / "heartbeat.json", hint):
        return State.RUNNING
    if has_failed(event for event in read_events(training) if event.evaluation is None or event.event == "retry"):
        return State.FAILED
    if submission is not None and submission.ended is None and (attempt is None or attempt.job != submission.job):
        return State.QUEUED if submission.job or is_alive(submission) else State.INTERRUPTED
    return State.INTERRUPTED if attempt is not None or reached else State.MISSING


@dataclass(frozen=True)
class Orphan:
    """A run of the experiment that no arm of the file owns any more, and what sets it apart."""

    folder: Path
    arm: str
    differences: list[str]


def orphans(experiment: str, arms: Iterable[Arm], runs: Path) -> list[Orphan]:
    """Return what earlier versions of the file, of a default, or of the workbench have left; it is never removed.

    A changed default changes the identity, so old results cannot be taken for new ones; `differences` says which
    keys differ from the arm that has the same name now.
    """
    arms = list(arms)
    owned, by_name = {folder_name(arm.name, arm.identity) for arm in arms}, {arm.name: arm for arm in arms}
    found: dict[Path, Orphan] = {}
    for place in sorted((runs / experiment).glob("*/seed-*")):
        folder = place.parent
        if folder.name in owned or folder in found:
            continue
        desired = _readable(place / DESIRED / f"{experiment}.json", Desired)
        earlier = read_json(place / "replicate.json")
        if desired is None and earlier is None:
            continue
        name = desired.arm if desired else str((earlier or {}).get("arm", folder.name))
        if is_trial(name):
            continue  # of the experiment's search, which is no arm of any version of the file
        differences = ["written by an earlier version of the workbench, with other run folders"] if earlier else []
        if desired is not None and name in by_name:
            differences = _differences(place, by_name[name].spec)
        found[folder] = Orphan(folder, name, differences)
    return list(found.values())


def _differences(place: Path, spec: Spec) -> list[str]:
    try:
        stored = strict_yaml.load(place / "spec.yaml").value
    except SpecError as error:
        return list(error.problems)
    now = spec.science()
    then = {section: stored.get(section, {}) for section in now} if isinstance(stored, dict) else {}
    return [f"{key}: {old} then, {new} now" for key, old, new in differing(only_with_effect(then), now)]


def read_floors(experiment: Path) -> list[Floor]:
    """Return the floors that were measured for an experiment, by its folder; what cannot be read is left out."""
    content = read_json(experiment / FLOORS_FILE) or {}
    listed = content.get("floors")
    found = []
    for value in listed if isinstance(listed, list) else []:
        try:
            found.append(Floor.model_validate(value))
        except ValueError:
            continue
    return found


def own_floors(experiment: Path, own: Iterable[Replicate]) -> list[dict[str, Any]]:
    """Return the floors of an experiment as plain values, without those resampled from what is not one of its own.

    Args:
        experiment: the experiment's folder.
        own: its replicates.
    """
    owners = {owner_of(replicate) for replicate in own}
    floors = (floor for floor in read_floors(experiment) if floor.floor != "resampled" or floor.of in owners)
    return [floor.model_dump(mode="json") for floor in floors]


def owner_of(replicate: Replicate) -> str:
    """Return how a floor names the replicate that was resampled: by its science, whatever its arm is called."""
    return f"{replicate.identity}/seed-{replicate.seed}"


def read_events(training: Path) -> list[Event]:
    """Return what happened to a training and its evaluations, oldest first."""
    found = []
    for line in read_lines(training / "events.jsonl"):
        try:
            found.append(Event.model_validate(line))
        except ValueError:
            continue
    return found


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Return the logged lines of a training or an evaluation; those without a step are left out."""
    return [line for line in read_lines(folder / "metrics.jsonl") if type(line.get("step")) is int]


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON-lines file; a line cut short by a kill, or damaged, is passed over."""
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return
    for line in text.split(b"\n"):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            yield value


def _readable(path: Path, kind: Any) -> Any:
    """The record of a file, None where there is none that can be believed."""
    try:
        return read_record(path, kind)
    except DamagedError:
        return None
