"""Where a replicate's files lie, and what they say of its state. Plain files are the truth; reading never writes.

runs/<experiment>/<arm>-<identity>/seed-<n>/
    spec.yaml         the resolved spec             replicate.json   experiment, arm, axes, seed, identity
    provenance.json   code, packages, host, data    events.jsonl     attempts: started, failed, interrupted, done
    metrics.jsonl     one line a logged step        heartbeat.json   step and speed of the running attempt
    attempts/         0001.json, …: who ran it      submissions/     0001.json, …: who sent it to an executor
    control.json      what is wanted of it          log.txt          what it printed
    checkpoints/      full training state           samples/         sampled clips, uint8
    result.json       written last and at once: its presence means done
runs/<experiment>/floors.json  what the scores are where nothing can be better, by floor, metric and protocol
runs/_data/           prepared data sets: manifests, latent caches, reference statistics
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from registry import strict_yaml
from registry.errors import RunError
from registry.experiment.arms import Arm
from registry.runs.attempts import ATTEMPTS, SUBMISSIONS, Hint, is_alive, latest, numbered, read_json
from registry.schema.differences import differing
from registry.schema.search import is_trial
from registry.schema.spec import WITHOUT_EFFECT, Spec

State = Literal["missing", "queued", "running", "interrupted", "failed", "cancelled", "paused", "stopped", "done"]
STARTABLE: tuple[State, ...] = ("missing", "interrupted")  # what `launch` starts
GOING_ON: tuple[State, ...] = ("queued", "running")
RETRIED: tuple[State, ...] = ("failed", "cancelled")  # what `retry` opens again
DATA_FOLDER = "_data"
FLOORS_FILE = "floors.json"
LAUNCHES = "_launches"  # folder in that of the experiment: one a launch, with submitit's files and logs


@dataclass(frozen=True)
class Replicate:
    """An arm with a seed: one run folder."""

    experiment: str
    arm: str
    axes: Mapping[str, str]
    identity: str
    seed: int
    folder: Path
    spec: Spec = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        return f"{self.arm} seed {self.seed}"

    @property
    def state(self) -> State:
        """What the files alone say; `state_with` also asks Slurm."""
        return self.state_with(None)

    def state_with(self, hint: Hint | None) -> State:
        """What the files say: done beats everything, a live attempt the rest, a wish of `control.json` the events.

        Args:
            hint: what Slurm says of jobs; where it was not asked or did not answer, the files decide.
        """
        if (self.folder / "result.json").exists():
            return "done"
        attempt = latest(self.folder / ATTEMPTS)
        if is_alive(attempt, self.folder / "heartbeat.json", hint):
            return "running"
        control, last = self.control(), next(iter(reversed(self.events())), {"event": None})
        if control.get("action") in ("stop", "cancel"):
            return "stopped" if control["action"] == "stop" else "cancelled"
        if last["event"] == "failed":
            return "failed"
        if last["event"] == "paused" and control.get("until") is not None and last["step"] >= control["until"]:
            return "paused"
        if self._is_queued(attempt, hint):
            return "queued"
        return "missing" if last["event"] in (None, "retry") and not self.checkpoints() else "interrupted"

    def _is_queued(self, attempt: dict[str, Any] | None, hint: Hint | None) -> bool:
        """Whether it waits for its turn: Slurm has its job, or, if Slurm was not asked, no attempt has used it up."""
        submission = self.submission()
        if submission is None:
            return False
        job = submission["job"]
        if job is None:  # it is being submitted, unless the submitting process died over it
            return is_alive(submission)
        told = hint(job) if hint is not None else None
        if told is None:
            return attempt is None or attempt["job"] != job or attempt.get("requeued", False)
        return told != ""

    def attempts(self) -> list[dict[str, Any]]:
        """Who ran it, oldest first: host, node, pid, Slurm job, when it began and ended."""
        return [content for path in numbered(self.folder / ATTEMPTS) if (content := read_json(path)) is not None]

    def submission(self) -> dict[str, Any] | None:
        """The newest time that it was sent to an executor: token, and its Slurm job once there is one."""
        return latest(self.folder / SUBMISSIONS)

    def control(self) -> dict[str, Any]:
        """What launchers and controllers want of it: `action` (run, cancel, stop), `until` (a step), `reason`."""
        return read_json(self.folder / "control.json") or {}

    def events(self) -> list[dict[str, Any]]:
        return list(read_lines(self.folder / "events.jsonl"))

    def metrics(self) -> list[dict[str, Any]]:
        return list(read_lines(self.folder / "metrics.jsonl"))

    def checkpoints(self) -> list[Path]:
        """Full-state checkpoints, oldest first."""
        return sorted((self.folder / "checkpoints").glob("step-*.pt"))

    def result(self) -> dict[str, Any] | None:
        return read_json(self.folder / "result.json")

    def heartbeat(self) -> dict[str, Any] | None:
        return read_json(self.folder / "heartbeat.json")

    def row(self) -> dict[str, Any]:
        """The replicate as `analysis.results.load` takes it.

        Raises:
            RunError: a finished replicate's stored spec no longer hashes to its identity.
        """
        if self.state == "done":
            open_replicate(self.folder)
        return {
            "experiment": self.experiment,
            "arm": self.arm,
            "axes": dict(self.axes),
            "seed": self.seed,
            "identity": self.identity,
            "state": self.state,
            "folder": str(self.folder),
            "result": self.result(),
        }


def folder_name(arm: str, identity: str) -> str:
    """A folder name for an arm: its name as far as file systems bear it, and its identity."""
    plain = "".join(c if c.isalnum() or c in "=._,-" else "-" for c in arm)[:80]
    return f"{plain}-{identity}"


def replicates(experiment: str, arms: Iterable[Arm], seeds: Iterable[int], runs: Path) -> list[Replicate]:
    """Every replicate of an experiment, arm by arm, seed by seed."""
    seeds = list(seeds)
    return [
        Replicate(
            experiment=experiment,
            arm=arm.name,
            axes=arm.axes,
            identity=arm.identity,
            seed=seed,
            folder=runs / experiment / folder_name(arm.name, arm.identity) / f"seed-{seed}",
            spec=arm.spec,
        )
        for arm in arms
        for seed in seeds
    ]


def open_replicate(folder: Path) -> Replicate:
    """The replicate of a run folder, from its stored spec.

    Raises:
        RunError: the folder is none, or its stored spec no longer hashes to its identity (it was edited, or the
            meaning of a key changed).
    """
    about = read_json(folder / "replicate.json")
    if about is None:
        raise RunError(f"{folder}: no run folder (there is no replicate.json)")
    stored = strict_yaml.load(folder / "spec.yaml").value
    try:
        spec = Spec.model_validate(stored)
    except ValueError as error:
        raise RunError(f"{folder / 'spec.yaml'}: is no spec of this version: {error}") from None
    if spec.identity != about["identity"]:
        raise RunError(
            f"{folder / 'spec.yaml'}: hashes to {spec.identity}, the folder is {about['identity']}; the stored spec "
            "was edited, or it was written by another version of the workbench"
        )
    return Replicate(about["experiment"], about["arm"], about["axes"], about["identity"], about["seed"], folder, spec)


@dataclass(frozen=True)
class Orphan:
    """A run folder of the experiment that no arm of the file owns any more, and what sets it apart."""

    folder: Path
    arm: str
    differences: list[str]


def orphans(experiment: str, arms: Iterable[Arm], runs: Path) -> list[Orphan]:
    """Folders that earlier versions of the file, or of a default, have left; they are named, never reused or removed.

    A changed default changes the identity, so old results cannot be taken for new ones; `differences` says which
    keys differ from the arm that has the same name now.
    """
    arms = list(arms)
    owned, by_name = {folder_name(arm.name, arm.identity) for arm in arms}, {arm.name: arm for arm in arms}
    found: list[Orphan] = []
    for about_file in sorted((runs / experiment).glob("*/seed-*/replicate.json")):
        folder = about_file.parent.parent
        if folder.name in owned or any(orphan.folder == folder for orphan in found):
            continue
        name = (read_json(about_file) or {}).get("arm", folder.name)
        if is_trial(name):
            continue  # of the experiment's search, which is no arm of any version of the file
        differences: list[str] = []
        if name in by_name and (about_file.parent / "spec.yaml").exists():
            stored = strict_yaml.load(about_file.parent / "spec.yaml").value
            now = by_name[name].spec.science()
            differences = [
                f"{key}: {old} then, {new} now"
                for key, old, new in differing({section: stored.get(section, {}) for section in now}, now)
                if key not in WITHOUT_EFFECT
            ]
        found.append(Orphan(folder, name, differences))
    return found


def read_floors(experiment: Path) -> list[dict[str, Any]]:
    """The floor records of an experiment's folder: floor, metric, protocol, values (one a draw), n_fake, n_real."""
    return list((read_json(experiment / FLOORS_FILE) or {}).get("floors", []))


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a JSON-lines file; a last line cut short by a kill is passed over."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    for line in text.splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue
