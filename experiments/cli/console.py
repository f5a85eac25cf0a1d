"""What people see: tables, progress bars on a terminal and plain lines in a log, and the next useful command."""

import json
import shlex
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from analysis import terminal
from experiments.cli.doctor import Check
from experiments.plan.inventory import Unreferenced
from experiments.plan.plan import Plan
from registry.runs.machine import ROOT
from registry.runs.records import State
from registry.runs.run_folder import Replicate
from registry.schema.labels import printable

if TYPE_CHECKING:
    from experiments.launch.report import Report

console = Console(soft_wrap=True)
WIDTH = 160  # of tables that go to a file or a pipe
COLOURS = {
    "done": "green", "running": "cyan", "queued": "blue", "failed": "bold red", "interrupted": "yellow",
    "damaged": "bold red", "cancelled": "magenta", "paused": "yellow", "stopped": "magenta", "missing": "dim",
}  # fmt: skip
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
        if console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bars = Progress(*columns, console=console, transient=True)

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
            say(text)

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


def table(headers: Sequence[str], rows: Iterable[Sequence[Any]], title: str = "", keys: int = 1) -> None:
    """Print a table as `make_tables` makes it."""
    screen = console if console.is_terminal and console.width >= terminal.NARROWEST else Console(width=columns())
    for number, part in enumerate(make_tables(headers, rows, title, keys)):
        screen.print(*([""] if number else []), part, sep="\n")


def make_tables(headers: Sequence[str], rows: Iterable[Sequence[Any]], title: str = "", keys: int = 1) -> list[Table]:
    """Return a table whose states have their colours; several, one below the other, where it is too wide.

    Args:
        headers: a name for each column.
        rows: of values; None is an empty cell.
        title: above it.
        keys: so many columns name the rows, and begin each of several tables.
    """
    cells = [[("" if cell is None else printable(str(cell))) for cell in row] for row in rows]
    return terminal.fitting(headers, cells, columns(), title=title, keys=keys, look=terminal.Look(styles=COLOURS))


def columns() -> int:
    """Return how many columns a table has here."""
    return max(terminal.NARROWEST, console.width) if console.is_terminal else terminal.columns_here(WIDTH)


def plan_table(plan: Plan, rows: list[dict[str, Any]]) -> None:
    """The plan as a table, with totals."""
    from experiments.plan import videos  # imports torch, which most verbs do without

    lines = []
    for row in rows:
        lines.append([
            row["arm"], row["identity"], row["depth"], f"{row['parameters']:,}",
            f"{row['macs']['paper_convention'] / 1e9:,.2f}", f"{row['macs']['evaluated'] / 1e9:,.2f}",
            len(row["seeds"]), row["state"], f"{row['gpu_hours']:.3g}",
        ])  # fmt: skip
    macs = ["G MACs (paper: thop, 3 clips)", "G MACs (a clip, as evaluated)"]
    headers = ["arm", "identity", "depth", "parameters", *macs, "seeds", "state", "GPU-hours"]
    table(headers, lines, title=f"{plan.name}: {len(rows)} arms, {sum(len(row['seeds']) for row in rows)} replicates")
    for line in videos.lines(plan, {row["arm"]: row["videos"] for row in rows}):
        paragraph(line)
    for claim in plan.claims:
        paragraph(f"claim on {claim.axis}: {claim.statement} in {claim.metric}{claim.where}")
    paragraph(f"floors: {', '.join(plan.file.experiment.floors) or 'none'}")


def plan_totals(
    plans: Sequence[Plan], rows: Sequence[dict[str, Any]], trainings: Sequence[dict[str, Any]], total: dict[str, float]
) -> None:
    """The trainings that are shared, and what everything costs with and without sharing."""
    shared = [row for row in trainings if len(row["arms"]) > 1 or len(row["experiments"]) > 1]
    if shared:
        lines = [
            [row["training"], len(row["seeds"]), row["state"], f"{row['gpu_hours']:.3g}", ", ".join(row["arms"]),
             ", ".join(row["experiments"])]
            for row in shared
        ]  # fmt: skip
        table(["shared training", "seeds", "state", "GPU-hours", "arms", "experiments"], lines)
    experiment = plans[0].file.experiment
    sources = {
        "finished": "finished replicates", "measured": "steps measured now, without scoring",
        "arithmetic": f"arithmetic at {experiment.resources.tflops:g} TFLOP/s sustained",
    }  # fmt: skip
    told = "; ".join(text for how, text in sources.items() if any(row["gpu_hours_from"] == how for row in rows))
    screened = any(plan.file.experiment.screen for plan in plans)
    least = "; at most: what the screen stops is counted to its end" if screened else ""
    alone = f" ({total['alone']:.3g} if every arm trained alone)" if shared else ""
    paragraph(
        f"GPU-hours in all: {total['shared']:.3g}{alone}, still to come: {total['left']:.3g} (from {told}{least})"
    )


def show_inventory(experiments: Sequence[dict[str, Any]], trainings: Sequence[dict[str, Any]]) -> None:
    """The experiments and the trainings of a runs folder."""
    lines = [
        [row["experiment"], row["arms"], f"{row['done']}/{row['replicates']}", row["trainings"], _megabytes(row),
         f"{row['days']:.1f}"]
        for row in experiments
    ]  # fmt: skip
    table(["experiment", "arms", "done", "trainings", "MB", "days old"], lines)
    lines = [
        [row["training"], row["seed"], row["state"], row["evaluations"], ", ".join(row["experiments"]) or "nobody",
         _megabytes(row), f"{row['days']:.1f}"]
        for row in trainings
    ]  # fmt: skip
    table(["training", "seed", "state", "evaluations", "wanted by", "MB", "days old"], lines)


def show_unreferenced(found: Sequence[Unreferenced]) -> None:
    """What nothing refers to, and what of it stays."""
    if not found:
        return say("everything here is referred to")
    lines = [[one.what, str(one.path), f"{one.size / 1e6:,.1f}", one.kept or "can go"] for one in found]
    table(["what", "folder", "MB", ""], lines)


def _megabytes(row: dict[str, Any]) -> str:
    return f"{row['bytes'] / 1e6:,.1f}"


def show_report(written: "Report") -> None:
    """What was written, and what could not be done."""
    for line in (*written.notes, *(f"wrote {path}" for path in written.written)):
        say(line)


def show_scores(found: dict[str, Any]) -> None:
    """What `score` measured: each number with its interval, its floor and its protocol; and all that was left out."""
    rows = []
    for row in found["scores"]:
        interval = f"{row['interval'][0]:.4g} to {row['interval'][1]:.4g}" if row["interval"] else ""
        floor = row["floors"].get("real_halves")
        beside = f"{floor['mean']:.4g}" if floor else ""
        counts = f"{row['n_fake']} and {row['n_real']}"
        rows.append([row["metric"], f"{row['value']:.6g}", interval, counts, beside, row["protocol"]])
    table(["metric", "score", "95 % (clips)", "clips", "floor: real halves", "protocol"], rows)
    for name in ("samples", "against"):
        side = found[name]
        say(f"{name}: {side['clips']} clips of {side['of_videos']} videos of {side['path']}")
        if side["too_short"]:
            say(f"  {len(side['too_short'])} videos are too short for a clip, the first: {side['too_short'][0]}")
        if side["rejected"]:
            say(f"  {len(side['rejected'])} entries rejected, the first: {': '.join(side['rejected'][0])}")
    floors = [floor for row in found["scores"] for floor in row["floors"].values()]
    if scaled := next((f for f in floors if list(f["measured_at"]) != [f["n_fake"], f["n_real"]]), None):
        fake, real = scaled["measured_at"]
        videos = scaled["measured_videos"]
        of = f" of {videos[0]} and {videos[1]} videos" if videos and videos != scaled["measured_at"] else ""
        say(f"floors: measured with {fake} and {real} clips{of}, brought to the score's counts by the law of its bias")
    for told in found["differs"]:
        say(f"NOTE: not the same measurement as the one that lent its protocol: {told}")
    if any(row["interval"] and row["details"].get("slices", 8) < 8 for row in found["scores"]):
        say("NOTE: few videos: the intervals come from 4 slices and are rough")
    if found["shared_videos"]:
        say(f"NOTE: {found['shared_videos']} videos are on both sides; that makes a score better than it is")
    for told in found["cautions"]:
        say(told)
    say(f"wrote {Path(found['out']) / 'scores.json'}, {found['plot'] or 'no plot: too few clips for an N-curve'}")


def show_protocols(found: dict[str, Any]) -> None:
    """Each protocol as a table of dotted keys."""
    for name, values in found.items():
        table(["key", "value"], [[key, _plain(value)] for key, value in flat(values)], title=name)


def show_protocol_diff(left: str, right: str, rows: Sequence[tuple[str, Any, Any]]) -> None:
    """The keys in which two protocols differ."""
    if not rows:
        return say("the two are the same")
    flat_rows = [
        (f"{key}.{inner}" if inner else key, _plain(a), _plain(b))
        for key, left_value, right_value in rows
        for inner, a, b in _side_by_side(left_value, right_value)
    ]
    table(["key", left, right], flat_rows)


def _side_by_side(left: Any, right: Any) -> Iterator[tuple[str, Any, Any]]:
    if not isinstance(left, dict) and not isinstance(right, dict):
        yield "", left, right
        return
    a, b = (dict(flat(side)) if isinstance(side, dict) else {} for side in (left, right))
    for key in dict.fromkeys([*a, *b]):
        yield key, a.get(key), b.get(key)


def flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of nested mappings."""
    for key, item in value.items():
        dotted = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(item, dict):
            yield from flat(item, dotted)
        else:
            yield dotted, item


def _plain(value: Any) -> str:
    if value is None:
        return "-"
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)


def say(text: str) -> None:
    """A plain line; brackets are not markup, and control characters are shown, not obeyed."""
    console.print(printable(text), markup=False, highlight=False)


def quickstart() -> str:
    """The embedded experiment as a hint names it: by a short path where that is right."""
    short = "experiments/quickstart.yaml"
    return short if Path(short).exists() else str(ROOT / short)


def put(text: str) -> None:
    """A text that others have laid out, as it is but for control characters."""
    print(printable(text))


def paragraph(text: str) -> None:
    """A line that is folded between its words where it is too long, so that no number is cut by the terminal's edge."""
    say(terminal.wrapped(text, columns()))


def complain(lines: Iterable[str]) -> None:
    """What is wrong, a line each, on standard error."""
    for line in lines:
        print(printable(line), file=sys.stderr)


def next_command(*words: str) -> None:
    """The next useful command, ready for a shell: a first word that is a command, then its arguments."""
    console.print("[dim]next:[/dim]", end=" ")
    say(" ".join([words[0], *map(shlex.quote, words[1:])]))


def show_differences(baseline: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """The resolved keys in which arms differ from the baseline, as `resolved_specs.differences` gives them."""
    for row in rows:
        lines = [[found["key"], found["baseline"], found["arm"]] for found in row["differences"]]
        table(["key", baseline, row["arm"]], lines, title=f"{row['arm']} against {baseline}")


def show_checks(checks: Iterable[Check]) -> None:
    """The doctor's findings."""
    marks = {True: "ok", False: "MISSING", None: "-"}
    table(["", "what", "found"], [[marks[check.good], check.what, check.found] for check in checks])


def checks_as_json(checks: Iterable[Check]) -> str:
    """The doctor's findings for a program: `good` is null where a thing is neither good nor bad."""
    return json.dumps([{**check._asdict(), "values": dict(check.values)} for check in checks], indent=1)
