"""A replicate: an arm with a seed, which is one evaluation of one training, and what its files say of its state."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from registry.errors import RunError
from registry.experiment.arm import Arm
from registry.experiment.comparable import loss_protocol
from registry.parts.start_files import checkpoints_in
from registry.paths import expanded
from registry.runs.attempts import ATTEMPTS, SUBMISSIONS, Hint, is_alive, latest, numbered
from registry.runs.places import DESIRED, EARLIER, EVALUATIONS, TRAININGS, experiment_of, link_of, training_name
from registry.runs.records import (
    Attempt,
    DamagedError,
    Desired,
    Event,
    Heartbeat,
    Result,
    State,
    Submission,
    read_record,
)
from registry.runs.stored import desires, has_failed, read_events, read_metrics, read_spec, readable, wanted
from registry.schema.result_columns import LOSS_PROTOCOL
from registry.schema.spec import Spec


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
        if submission.ended is not None:  # its turn is over, though the job may go on with others
            return False
        told = hint(submission.job) if hint is not None else None
        if told is None:
            return attempt is None or attempt.job != submission.job or attempt.requeued
        return told != ""

    def attempts(self) -> list[Attempt]:
        """Return who ran the training, oldest first."""
        found = (readable(path, Attempt) for path in numbered(self.training / ATTEMPTS))
        return [attempt for attempt in found if attempt is not None]

    def submission(self) -> Submission | None:
        """Return the newest time that the training was sent to an executor."""
        return latest(self.training / SUBMISSIONS, Submission)

    def desired(self) -> Desired | None:
        """Return what this experiment wants of the evaluation, None where it never asked for it."""
        return readable(self.folder / DESIRED / f"{self.experiment}.json", Desired)

    def wanted_elsewhere(self) -> bool:
        """Return whether another experiment still wants something of the training."""
        return any(desired.experiment != self.experiment for _, desired in wanted(self.training))

    def events(self) -> list[Event]:
        """Return what happened to the training and to this evaluation, oldest first."""
        return [event for event in read_events(self.training) if event.evaluation in (None, self.folder.name)]

    def last_word(self) -> Event | None:
        """Return what was said last of why there is no result; that an attempt has done all it could is no reason.

        Of what has failed, that is the failure: a training goes on after that of one evaluation.
        """
        events = self.events()
        of = {"failed"} if has_failed(events) else {event.event for event in events} - {"done"}
        return next((event for event in reversed(events) if event.event in of), None)

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
        return readable(self.training / "heartbeat.json", Heartbeat)

    def row(self) -> dict[str, Any]:
        """Return the replicate as `analysis.results.results_frame.load` takes it.

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
            LOSS_PROTOCOL: loss_protocol(self.spec) if result else None,
        }


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
    link = link_of(runs / experiment, arm.name, arm.identity, seed, step)
    training = _of_absent_videos(spec, link) or runs / TRAININGS / training_name(spec) / f"seed-{seed}"
    return Replicate(
        experiment=experiment,
        arm=arm.name,
        axes=arm.axes,
        identity=spec.identity,
        seed=seed,
        training=training,
        folder=training / EVALUATIONS / spec.evaluation,
        link=link,
        spec=spec,
        step=step,
    )


def _of_absent_videos(spec: Spec, link: Path) -> Path | None:
    """Return the training that an experiment's link names, where neither its videos nor those of the spec are here.

    Such runs came from another machine, and are read all the same: where the videos lay there says nothing here.
    """
    path = spec.data.path
    if path is None or not link.is_symlink() or expanded(path).exists():
        return None
    try:
        stored = read_spec(link.resolve())
    except RunError:
        return None
    made_from = stored.data.path
    same = stored.training == spec.training and stored.evaluation == spec.evaluation
    return link.resolve().parent.parent if same and made_from and not Path(made_from).exists() else None


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
    own = experiment_of(link).name if link is not None else None
    asked = sorted(desires(folder), key=lambda desired: (desired.experiment != own, desired.time))
    desired = asked[0] if asked else Desired(experiment="", arm="")
    return Replicate(
        desired.experiment, desired.arm, desired.axes, spec.identity, int(training.name.removeprefix("seed-")),
        training, folder, link or folder, spec,
    )  # fmt: skip


def is_replicate(folder: Path) -> bool:
    """Return whether a folder is an evaluation's, or a link to one."""
    return folder.resolve().parent.name == EVALUATIONS and (folder / "spec.yaml").exists()
