"""Verbs that set two things side by side: diff, of arms as written or of two runs; compare, of two experiments."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from experiments.cli.options import FOLDER, FORMAT, ONLY, OVERRIDE, RUNS, completed, verb
from registry.errors import RunError, SpecError, did_you_mean

if TYPE_CHECKING:
    from experiments.plan.plan import Plan
    from registry.runs.replicate import Replicate

METAVAR = "FILE [KEY.PATH=VALUE]... | RUN RUN"


@click.command(short_help="The keys in which arms differ; or two arms or runs, with code, machine and result.")
@click.argument("words", nargs=-1, required=True, metavar=METAVAR, shell_complete=completed("files_and_overrides"))
@click.option("--arms", nargs=2, metavar="ARM ARM", help="Two arms of FILE as they ran, with code, machine and result.")
@click.option("--seed", type=click.IntRange(0), help="Of --arms; left out: the first that both have finished.")
@RUNS
@ONLY
@FORMAT
@verb(on_experiment=False)
def diff(
    words: tuple[str, ...], arms: tuple[str, str] | None, seed: int | None, runs: Path, only: tuple[str, ...], form: str
) -> None:
    """The keys in which each arm of FILE (see --only) differs from the baseline, as resolved.

    With --arms, or of two runs (their folders, or training/seed-<n>/evaluation as `table --format md` prints them):
    where spec, protocol, code, environment and result differ, and nothing else.
    """
    if len(words) == 2 and not Path(words[0]).is_file() and not OVERRIDE.match(words[1]):
        from analysis.results.run_differences import open_run

        left, right = (open_run(word, runs) for word in words)
        return _show_runs(words, left, right, form)
    from experiments.plan.loading import load_plan
    from experiments.plan.tuning import refuse_untuned

    file, *overrides = words
    plan = load_plan(Path(file), overrides, runs, only)
    if arms is None:
        return _show_arms(plan, form)
    refuse_untuned(plan)
    left, right = _replicates(plan, arms, seed)
    return _show_runs((left.name, right.name), left, right, form)


def _show_arms(plan: "Plan", form: str) -> None:
    """Print where arms differ from the baseline as the file says them."""
    from experiments.cli import hints, plan_view
    from experiments.plan.resolved_specs import differences

    rows, baseline = differences(plan), plan.arms[0].name
    if form == "json":
        return print(json.dumps({"experiment": plan.name, "baseline": baseline, "arms": rows}, indent=1))
    plan_view.show_differences(baseline, rows)
    hints.next_command(*hints.again("plan"))


def _replicates(plan: "Plan", arms: tuple[str, str], seed: int | None) -> "list[Replicate]":
    """Return the replicates of two arms at one seed.

    Raises:
        SpecError: there is no such arm or seed.
        RunError: one of them was not launched.
    """
    names = [arm.name for arm in plan.arms]
    for name in arms:
        if name not in names:
            raise SpecError(f"--arms: no arm {name!r}; {did_you_mean(name, names)}")
    there = {(own.arm, own.seed): own for own in plan.all_replicates}
    seeds = [one for one in plan.file.experiment.all_seeds if all((name, one) in there for name in arms)]
    if seed is not None and seed not in seeds:
        raise SpecError(f"--seed: no seed {seed}; there are {', '.join(map(str, seeds))}")
    pairs = [[there[name, one] for name in arms] for one in (seeds if seed is None else (seed,))]
    launched = [pair for pair in pairs if all((own.folder / "spec.yaml").exists() for own in pair)]
    if not launched:
        raise RunError(
            f"{plan.name}: no seed of both {' and '.join(arms)} was launched; without --arms, diff says what FILE says"
        )
    return next((pair for pair in launched if all(own.result() is not None for own in pair)), launched[0])


def _show_runs(names: tuple[str, ...], left: "Replicate", right: "Replicate", form: str) -> None:
    """Print where two runs differ, section by section."""
    from analysis.results.run_differences import SECTIONS, differences
    from experiments.cli import console

    found: dict[str, list[Any]] = {section: [] for section in SECTIONS}
    for one in differences(left, right):
        found[one.section].append(one)
    if form == "json":
        plain = {section: [one.as_json() for one in rows] for section, rows in found.items()}
        return print(json.dumps({"left": names[0], "right": names[1], "differences": plain}, indent=1))
    for section, rows in found.items():
        if rows:
            lines = [[one.key, _shown(one.left), _shown(one.right)] for one in rows]
            console.table(["key", *names], lines, title=section)
    if same := [section for section, rows in found.items() if not rows]:
        console.say(f"no difference in {', '.join(same)}")


def _shown(value: Any) -> Any:
    """Return a value as a cell has it."""
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return f"{value:.6g}" if isinstance(value, float) else value


@click.command()
@click.argument("left", type=FOLDER, metavar="FILE_OR_FOLDER")
@click.argument("right", type=FOLDER, metavar="FILE_OR_FOLDER")
@click.option("--metric", "metrics", multiple=True, help="Only these scores; left out: all that both have.")
@click.option("--runs", type=FOLDER, help="Folder of all runs, for files; left out: looked for around them.")
@verb(on_experiment=False, formats=True)
def compare(left: Path, right: Path, metrics: tuple[str, ...], runs: Path | None, form: str) -> None:
    """Two experiments, or two sites of one, arm by arm: the scores on either side and how far they are apart.

    Each is an experiment file or its folder among the runs. Scores by different protocols are refused, with what
    differs.
    """
    from analysis import load
    from analysis.reading import comparing
    from analysis.tables import terminal
    from experiments.cli import console

    ours, theirs = (load(place, runs if place.is_file() else None) for place in (left, right))
    found = comparing.compare(ours, theirs, metrics)
    if form == "json":
        return print(json.dumps(found.as_json(), indent=1))
    header = ["arm", "score", found.left, found.right, "difference", "95 % interval"]
    console.table(header, [row.cells() for row in found.rows], keys=2)
    console.paragraph("difference: right less left; interval: Welch's, for runs that are not paired")
    measured = [f"{metric}: protocol {name}" for metric, name in found.protocols.items() if name is not None]
    for line in (*measured, *found.notes):
        console.say(terminal.wrapped(line, console.columns()))
