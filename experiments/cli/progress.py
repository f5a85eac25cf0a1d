"""Progress of long work: bars on a terminal, and plain lines in a log."""

import sys
import time
from collections.abc import Sequence

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from experiments.cli import console
from registry.runs.records import State
from registry.runs.replicate import Replicate
from registry.schema.labels import printable

PLAIN_EVERY = 10.0  # seconds between lines in a log
WATCH_EVERY = 60.0  # seconds between lines about running replicates in a log


class Bars:
    """Progress of long work: a bar for each kind on a terminal, a line now and then elsewhere.

    Args:
        apart: lines go to standard error, because standard output is for a machine.
    """

    def __init__(self, apart: bool = False) -> None:
        self._lines = sys.stderr if apart else sys.stdout
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._last: dict[str, float] = {}
        self._seen: dict[str, str] = {}
        if console.console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bars = Progress(*columns, console=console.console, transient=True)

    def __enter__(self) -> "Bars":
        if self._bars:
            self._bars.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bars:
            self._bars.stop()

    def show(self, what: str, done: int, total: int) -> None:
        """Take note that `done` of `total` are done."""
        if self._bars is None:
            now = time.monotonic()
            if now - self._last.get(what, -PLAIN_EVERY) >= PLAIN_EVERY or (done == total and what in self._last):
                self._last[what] = now
                print(printable(f"{what}: {done} of {total}"), file=self._lines, flush=True)
            return
        what = printable(what)
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(what, total=total)
        self._bars.update(self._tasks[what], completed=done, total=total)

    def line(self, text: str) -> None:
        """A plain line above the bars."""
        if self._bars is None:
            print(printable(text), file=self._lines, flush=True)
        else:
            console.say(text)

    def watch(self, todo: Sequence[Replicate], states: Sequence[State]) -> None:
        """Show how far the replicates of a launch are: overall, and each running one's step."""
        if self._bars is None:
            self._watch_plainly(todo, states)
            return
        self.show("replicates", sum(not state.active for state in states), len(todo))
        for replicate, state in zip(todo, states, strict=True):
            beat = replicate.heartbeat() if state == "running" else None
            if beat:
                self.show(replicate.name, beat.step, beat.steps)
                self._bars.update(self._tasks[replicate.name], description=f"{replicate.name}: {beat.stage}")
            elif state != "running" and replicate.name in self._tasks:
                self._bars.remove_task(self._tasks.pop(replicate.name))

    def _watch_plainly(self, todo: Sequence[Replicate], states: Sequence[State]) -> None:
        """In a log: a line when a replicate starts or ends, and now and then where the running ones are."""
        for replicate, state in zip(todo, states, strict=True):
            if self._seen.get(replicate.name) != state and state not in ("missing", "queued"):
                self._seen[replicate.name] = state
                result = replicate.result() if state == "done" else None
                scores = result.scores if result else {}
                told = ", ".join(f"{name} {value:.4g}" for name, value in scores.items() if "band" not in name)
                print(f"{replicate.name}: {state}{'  ' + told if told else ''}", flush=True)
        now = time.monotonic()
        if now - self._last.setdefault("watch", now) >= WATCH_EVERY:
            self._last["watch"] = now
            beats = [
                (replicate.name, replicate.heartbeat())
                for replicate, s in zip(todo, states, strict=True)
                if s == "running"
            ]
            told = "; ".join(f"{name} {beat.stage} {beat.step}/{beat.steps}" for name, beat in beats if beat)
            ended = sum(state is not State.MISSING and not state.active for state in states)
            print(f"{ended} of {len(todo)} replicates ended{'; ' + told if told else ''}", flush=True)
