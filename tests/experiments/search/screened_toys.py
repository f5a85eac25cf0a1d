"""What the tests of screens share: a toy race of four arms, what its files say, and ways to disturb it."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from experiments.plan.loading import load_plan
from experiments.plan.plan import Plan
from experiments.plan.screening import rungs_folder
from experiments.record.recording import Recorder
from experiments.worker.run import run_training
from registry.runs.replicate import Replicate
from tests.fixtures.toy_replicates import TOY

ARMS = "arms: {fast: {learning.learning_rate: 5e-3}, slow: {learning.learning_rate: 1e-5}, late: {model.depth: 4}}"


class Killed(BaseException):
    """The controller is dead."""


class Fuse:
    """Kills the controller at the fourth call since it was set anew."""

    def __init__(self) -> None:
        self.left = 0

    def renew(self) -> None:
        self.left = 3

    def burn(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed


def deaths_until_done(run: Callable[[], object], fuse: Fuse) -> int:
    """Run again and again until it survives; return how often it was killed."""
    deaths = 0
    while True:
        fuse.renew()
        try:
            run()
        except Killed:
            deaths += 1
            continue
        return deaths


def unwatched(*words: object) -> None:
    """Nobody watches."""


def screened(folder: Path, screen: str, *overrides: str, only: Sequence[str] = (), stage: str = "") -> Plan:
    """The plan of the race, its screen as written."""
    text = TOY[: TOY.index("ablate:")].replace("steps: 6,", "steps: 9,") + f"{ARMS}\nseeds: [0]\nfloors: []\n{screen}\n"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "toy.yaml"
    path.write_text(text, encoding="utf-8")
    return load_plan(path, overrides, folder / "runs", only, stage=stage)


def states_of(plan: Plan) -> dict[str, str]:
    """Arm -> its state."""
    return {replicate.arm: replicate.state for replicate in plan.replicates}


def of(plan: Plan, arm: str) -> Replicate:
    """The replicate of an arm."""
    return next(replicate for replicate in plan.replicates if replicate.arm == arm)


def records(plan: Plan) -> list[dict[str, Any]]:
    """What was decided, rung by rung."""
    return [json.loads(path.read_text()) for path in sorted(rungs_folder(plan).glob("0*"))]


def failing(plan: Plan, arm: str) -> Callable[[Path, Any], list[Any]]:
    """Run trainings as usual, but for that of an arm, which fails."""
    hit = of(plan, arm).training.resolve()

    def start(training: Path, progress: Any) -> list[Any]:
        if training.resolve() == hit:
            Recorder(training).event("failed", error="a cosmic ray")
            return []
        return run_training(training, progress)

    return start
