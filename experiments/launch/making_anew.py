"""Making anew what other code has made: it is set aside under a numbered name, and all who wanted it want it again.

Where the code that trains has changed, the training goes aside with all its evaluations, those of other experiments
included; else the evaluations whose own code has changed. Nothing is removed: `list` shows what was set aside, and
`prune` offers to remove it.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from experiments.plan.other_code import Outdated, outdated, summary
from experiments.plan.plan import Plan
from experiments.record.states import Submission, is_active
from registry.runs import records
from registry.runs.attempts import ATTEMPTS, SUBMISSIONS, is_alive, latest, take, this_process
from registry.runs.places import DESIRED, EARLIER, EVALUATIONS, PREPARED
from registry.runs.records import Attempt

KEPT = ("spec.yaml", "provenance.json", PREPARED)  # what a folder that is begun anew has of the one that was set aside


def set_aside(plan: Plan) -> list[str]:
    """Set aside what other code than the present has made of the selected replicates; return what was done, in lines.

    What is being made, or waits to be, is left as it is, and said so.
    """
    by_training: dict[Path, list[Outdated]] = {}
    for one in outdated(plan, plan.work):
        by_training.setdefault(one.replicate.training, []).append(one)
    if not by_training:
        return [f"{plan.name}: the present code made all that is there; nothing is made anew"]
    lines = []
    for training, own in by_training.items():
        with _alone(training) as free:
            if not free:
                lines.append(f"{training}: is being made, or waits to be: `cancel` it before it is made anew")
                continue
            if any(one.training for one in own):
                places = [_training_aside(training)]
            else:
                folders = dict.fromkeys(one.replicate.folder for one in own if one.replicate.folder.is_dir())
                places = [_evaluation_aside(folder) for folder in folders]
        lines.append(f"made anew: {summary(own)}; what was there is in {', '.join(map(str, places))}")
    return lines


@contextlib.contextmanager
def _alone(training: Path) -> Iterator[bool]:
    """Whether nobody is at work on a training or sends it off; nobody does, while the block lasts."""
    if is_active(training):
        yield False
        return
    before = latest(training / SUBMISSIONS, records.Submission)
    mine = {**this_process(), "job": None, "executor": "", "token": ""}
    number = 1 + (before.number if before else 0)
    try:
        path = take(training / SUBMISSIONS, number, mine)
    except FileExistsError:  # another launcher was quicker
        yield False
        return
    submission = Submission(path, records.Submission(number=number, **mine))
    try:
        yield not is_alive(latest(training / ATTEMPTS, Attempt), training / "heartbeat.json")
    finally:
        with contextlib.suppress(FileNotFoundError):  # it was set aside, with the training
            submission.end()


def _training_aside(training: Path) -> Path:
    """Set a training aside, and begin its folder anew with all that was asked of it; return where it is now."""
    aside = _free_name(training.parent, training.name)
    aside.parent.mkdir(parents=True, exist_ok=True)
    with _begun_anew(training) as fresh:
        for evaluation in sorted((training / EVALUATIONS).glob("*/spec.yaml")):
            if EARLIER not in evaluation.parent.name:
                _ask_again(evaluation.parent, fresh / EVALUATIONS / evaluation.parent.name)
        os.rename(training, aside)
    return aside


def _evaluation_aside(evaluation: Path) -> Path:
    """Set an evaluation aside, and ask for it anew; return where it is now."""
    aside = _free_name(evaluation)
    with _begun_anew(evaluation) as fresh:
        _ask_again(evaluation, fresh)
        os.rename(evaluation, aside)
    shutil.rmtree(aside / DESIRED, ignore_errors=True)  # nobody wants it any more
    return aside


@contextlib.contextmanager
def _begun_anew(folder: Path) -> Iterator[Path]:
    """A new folder that takes the place of another, which the block moves away."""
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    fresh.chmod(0o755)
    try:
        for name in KEPT:
            if (folder / name).exists():
                shutil.copyfile(folder / name, fresh / name)
        yield fresh
        os.rename(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _ask_again(evaluation: Path, fresh: Path) -> None:
    """Ask for an evaluation as all do who asked for it before."""
    fresh.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(evaluation / "spec.yaml", fresh / "spec.yaml")
    if (evaluation / DESIRED).is_dir():
        shutil.copytree(evaluation / DESIRED, fresh / DESIRED)
    os.symlink(os.path.join("..", ".."), fresh / "training")


def _free_name(folder: Path, below: str = "") -> Path:
    """The first numbered name for a folder, or for what lies below it, that is free."""
    number = 1
    while True:
        place = folder.with_name(f"{folder.name}{EARLIER}{number}") / below
        if not place.exists():
            return place
        number += 1
