"""Replicates that train nothing: what they would have written appears in their folders, a little at every look.

The files outlive whoever looks, as those of jobs on a cluster do. A controller can be made to die at any write.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from optuna.storages.journal import JournalFileBackend

from experiments import executors, search, search_trials
from experiments.launching import make_run_folders
from experiments.plans import Plan, load_plan
from experiments.recording import Recorder
from experiments.search_goals import open_study
from experiments.search_study import Study
from experiments.search_trials import Trials
from registry.ablation import Arm
from registry.errors import RunError
from registry.runs import Replicate, State
from tests.experiments.toy import TOY, nothing

CODE = {"commit": "", "changed": False, "snapshot": ""}
STEPS = (3, 6)  # at which the toy writes a validation loss


class Killed(BaseException):
    """The controller is dead."""


class Fuse:
    """Kills the controller at a certain write: before it, after it, or in the middle of a line of the journal.

    Args:
        writes: how many are let through; None lets all.
        how: `before`, `after` or `torn`.
    """

    def __init__(self, writes: int | None = None, how: str = "before") -> None:
        self.left, self.how = writes, how

    def write(self, do: Callable[[], Any], tear: Callable[[], Any] | None = None) -> Any:
        """Do a write, or die over it."""
        if self.left is None:
            return do()
        self.left -= 1
        if self.left >= 0:
            return do()
        if self.how == "after":
            do()
        elif self.how == "torn" and tear is not None:
            tear()
        raise Killed


class Cluster:
    """Runs replicates in time steps; a folder's `fake.json` says how far it is.

    Args:
        fuse: kills the controller.
        outcome: learning rate and number of starts -> the final loss, or an error.
    """

    name = "fake"

    def __init__(self, fuse: Fuse, outcome: Callable[[float, int], float]) -> None:
        self.fuse, self.outcome, self.pause = fuse, outcome, 0.0
        self.going: dict[Path, Replicate] = {}

    def submit(self, replicates: Sequence[Replicate]) -> list[str]:
        started = []
        for replicate, state in zip(replicates, states(replicates), strict=True):
            if state == "missing":
                self.fuse.write(lambda replicate=replicate: self._start(replicate))
                started.append(replicate.name)
        return started

    def _start(self, replicate: Replicate) -> None:
        starts = starts_of(replicate.folder) + 1
        (replicate.folder / "fake.json").write_text(json.dumps({"starts": starts, "at": 0}))

    def poll(self) -> None:
        """Time goes on for all that run, whoever started it."""
        for replicate in self.going.values():
            about = _about(replicate.folder)
            if states([replicate]) != ["running"]:
                continue
            rate, recorder = replicate.spec.learning.learning_rate, Recorder(replicate.folder)
            try:
                loss = self.outcome(rate, about["starts"])
            except RunError as error:
                recorder.event("failed", error=f"RunError: {error}")
                continue
            if about["at"] < len(STEPS):
                step = STEPS[about["at"]]
                recorder.metrics(step, {"loss": loss, "validation_loss": loss + 1 / step})
            else:
                scores = {"validation_loss": loss, "fvd[moving_shapes_r3d]": 10 * loss}
                recorder.result({"scores": scores, "steps": STEPS[-1]})
            (replicate.folder / "fake.json").write_text(json.dumps({**about, "at": about["at"] + 1}))


def _about(folder: Path) -> dict[str, int]:
    path = folder / "fake.json"
    found: dict[str, int] = json.loads(path.read_text()) if path.exists() else {"starts": 0, "at": 0}
    return found


def starts_of(folder: Path) -> int:
    """How often a replicate was started."""
    return _about(folder)["starts"]


def states(replicates: Sequence[Replicate]) -> list[State]:
    """As `experiments.states.states`, of fake replicates."""
    found: list[State] = []
    for replicate in replicates:
        state = replicate.state
        retried = sum(event["event"] == "retry" for event in replicate.events())
        running = (replicate.folder / "fake.json").exists() and starts_of(replicate.folder) > retried
        found.append("running" if state == "missing" and running else state)
    return found


def searching(folder: Path, search_text: str, *overrides: str) -> Plan:
    """The plan of a toy experiment with a search and no axes."""
    head = TOY[: TOY.index("ablate:")]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "toy.yaml"
    path.write_text(f"{head}seeds: [0]\nsearch: {search_text}\n", encoding="utf-8")
    return load_plan(path, overrides, folder / "runs")


def control(
    plan: Plan, outcome: Callable[[float, int], float], patch: pytest.MonkeyPatch, fuse: Fuse | None = None
) -> tuple[Study, list[str]]:
    """Run a search on a fake cluster to its end, or until its fuse kills it.

    Returns:
        Its memory, and what it said.
    """
    fuse = fuse or Fuse()
    cluster = Cluster(fuse, outcome)

    def make(self: Trials, arm: Arm) -> list[Replicate]:
        found = make_run_folders(self._plan_of(arm), CODE)
        cluster.going |= {replicate.folder: replicate for replicate in found}
        return found

    append, wish = JournalFileBackend.append_logs, Recorder.control

    def append_or_die(self: JournalFileBackend, logs: list[dict[str, Any]]) -> None:
        def tear() -> None:
            with Path(self._file_path).open("ab") as file:
                file.write(json.dumps(logs[0]).encode()[:40])

        fuse.write(lambda: append(self, logs), tear)

    with patch.context() as patched:
        patched.setattr(search_trials.Trials, "_make", make)
        patched.setattr(search, "states", states)
        patched.setattr(executors, "states", states)
        patched.setattr(JournalFileBackend, "append_logs", append_or_die)
        patched.setattr(
            Recorder, "control", lambda self, *words, **more: fuse.write(lambda: wish(self, *words, **more))
        )
        said: list[str] = []
        study = open_study(plan, writing=True)
        controller = search.Controller(plan, study, Trials(plan, CODE, nothing), cluster, said.append)  # type: ignore[arg-type]
        rounds = 0
        while controller.round() is not None:
            rounds += 1
            assert rounds < 1000, "a search that does not end"
    return study, said
