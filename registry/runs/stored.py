"""What the files of a training and of its evaluations say: spec, events, metrics, who wants what, and how far it is."""

import json
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import Any

from registry import strict_yaml
from registry.errors import RunError, SpecError
from registry.parts.start_files import checkpoints_in, step_of
from registry.runs.attempts import ATTEMPTS, SUBMISSIONS, Hint, is_alive, latest
from registry.runs.places import DESIRED, EVALUATIONS, LOAD_FILE, SECONDS_FILE
from registry.runs.records import (
    Attempt,
    DamagedError,
    Desired,
    Event,
    State,
    Submission,
    Trained,
    read_record,
)
from registry.schema.result_columns import PACE
from registry.schema.spec import Spec

MEMORY = "process_memory_usage_megabytes"  # in a line of system.jsonl


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
    found = (readable(path, Desired) for path in sorted((evaluation / DESIRED).glob("*.json")))
    return [desired for desired in found if desired is not None]


def open_evaluations(training: Path) -> list[Path]:
    """Return the evaluations that have neither a result nor failed, by name; after a failure `retry` opens them."""
    found = [folder for folder in evaluations_in(training) if not (folder / "result.json").exists()]
    events = read_events(training) if found else []
    return [
        folder
        for folder in found
        if not has_failed(event for event in events if event.evaluation in (None, folder.name))
    ]


def wanted(training: Path) -> list[tuple[Path, Desired]]:
    """Return the open evaluations that are still wanted, once for each experiment that wants them."""
    return [
        (folder, desired) for folder in open_evaluations(training) for desired in desires(folder) if not desired.over
    ]


def has_failed(events: Iterable[Event]) -> bool:
    """Return whether the last that is said of a training, or of one evaluation, is that it failed."""
    failed = False
    for event in events:
        failed = (failed or event.event == "failed") and event.event != "retry"
    return failed


def trained(training: Path) -> Trained | None:
    """Return what there is to say of a training that has made its last step."""
    return readable(training / "trained.json", Trained)


def training_seconds(training: Path, step: int) -> float:
    """Return the seconds that steps up to one have taken, over all attempts, and validation with them.

    Neither starting a process nor evaluating on the way is training. A training that says nothing of it, since older
    code made it, has all its attempts' seconds when it has ended, and 0 before that.

    Args:
        training: its folder.
        step: that it was trained to.
    """
    stretches = [line for line in read_lines(training / SECONDS_FILE) if type(line.get("until")) is int]
    if stretches:
        return float(sum(line.get("seconds", 0.0) for line in stretches if line["until"] <= step))
    known = trained(training)
    return known.seconds if known is not None else 0.0


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


def pace_of(training: Path) -> dict[str, float]:
    """Return how fast a training was, as far as it has said: the figures of `PACE`."""
    lines = list(read_lines(training / LOAD_FILE))
    found = {name: [line[name] for line in lines if name in line] for name in PACE}
    paces = {name: float(median(values)) for name, values in found.items() if values}
    memory = [line[MEMORY] for line in lines if MEMORY in line]
    return paces | ({PACE[-1]: float(max(memory))} if memory else {})


def readable(path: Path, kind: Any) -> Any:
    """Return the record of a file, None where there is none that can be believed."""
    try:
        return read_record(path, kind)
    except DamagedError:
        return None
