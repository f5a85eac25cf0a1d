"""Run folders with metrics for tests of tracking, what a store has of them, and a client that fails when told to."""

import json
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from experiments import tracking
from experiments.recording import Recorder
from registry.runs import Replicate
from tests.experiments.toy import plan_of

STEPS = (2, 4, 6, 8)


def replicates(folder: Path, name: str, seeds: int = 2) -> list[Replicate]:
    """Run folders with metrics, as running attempts leave them."""
    plan = plan_of(folder, f"name={name}", f"seeds={list(range(seeds))}", only=["baseline"])
    for replicate in plan.replicates:
        replicate.folder.mkdir(parents=True)
        Recorder(replicate.folder).event("started")
        log(replicate, STEPS)
    return plan.replicates


def log(replicate: Replicate, steps: tuple[int, ...], shift: float = 0.0) -> None:
    """Metrics at some steps, with the time that it is."""
    for step in steps:
        values = {"loss": 1 / step + replicate.seed + shift, "rate[x]": float(step)}
        Recorder(replicate.folder).metrics(step, values)


def rewritten(replicate: Replicate, checkpoint: int, shift: float = 0.0) -> None:
    """What a requeued attempt does: it goes on from its checkpoint and writes the same steps, later."""
    Recorder(replicate.folder).forget_after(checkpoint)
    log(replicate, tuple(step for step in STEPS if step > checkpoint), shift)


def stored(uri: str, name: str) -> dict[str, Any]:
    """Replicate id -> its only run."""
    client = tracking._client(uri)
    runs = client.search_runs([client.get_experiment_by_name(name).experiment_id])
    assert max(Counter(run.data.tags["replicate"] for run in runs).values()) == 1
    return {run.data.tags["replicate"]: run for run in runs}


def assert_complete(uri: str, name: str, todo: list[Replicate]) -> None:
    """Every replicate has one run, and every point of its metrics.jsonl is there exactly once."""
    runs, client = stored(uri, name), tracking._client(uri)
    assert runs.keys() == {tracking._tag(replicate) for replicate in todo}
    for replicate in todo:
        run = runs[tracking._tag(replicate)]
        lines = [json.loads(line) for line in (replicate.folder / "metrics.jsonl").read_text().splitlines()]
        wanted = [
            (tracking.metric_key(key), line["step"], value)
            for line in lines
            for key, value in line.items()
            if key not in ("step", "time")
        ]
        found = [
            (key, point.step, point.value)
            for key in run.data.metrics
            for point in client.get_metric_history(run.info.run_id, key)
        ]
        assert sorted(found) == sorted(wanted)
        assert run.data.params["model.blocks.name"] == "variant_1"
        assert run.data.tags["state"] == replicate.state


class Killed(BaseException):
    """The process was killed."""


class Fragile:
    """An MlflowClient that does something at its n-th call, before the call or behind it."""

    def __init__(self, client: Any, at: int, act: Any, behind: bool = False) -> None:
        self.client, self.at, self.act, self.behind = client, at, act, behind
        self.calls: list[str] = []
        self.lock = threading.Lock()

    def __getattr__(self, verb: str) -> Any:
        call = getattr(self.client, verb)

        def called(*words: Any, **options: Any) -> Any:
            with self.lock:
                self.calls.append(verb)
                now = len(self.calls) == self.at
            if now and not self.behind:
                self.act()
            answer = call(*words, **options)
            if now and self.behind:
                self.act()
            return answer

        return called


def fragile(monkeypatch: pytest.MonkeyPatch, uri: str, at: int = 0, act: Any = None, behind: bool = False) -> Fragile:
    found = Fragile(tracking._client(uri), at, act, behind)
    monkeypatch.setattr(tracking, "_client", lambda uri: found)
    return found
