"""The command line: every verb parses its words, calls one function, and prints what it gave."""

import functools
import json
import math
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from registry.errors import RunError, SpecError
from registry.runs.command import command, module_command

if TYPE_CHECKING:
    from experiments.plan.plan import Plan
    from experiments.search.study import Study
    from experiments.search.workflow import Outcome
    from registry.schema.resources import Shape


class Verbs(click.Group):
    """Verbs in the order in which they are used, not in that of the alphabet; any terminal and any reader will do."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        from experiments.record import terminal

        terminal.replace_what_cannot_be_shown()
        if any(name.endswith("_COMPLETE") for name in os.environ):
            from experiments.cli import completion  # noqa: F401 - it tells click how bash completes here
        with terminal.quiet_when_nobody_reads():
            return super().main(*args, **kwargs)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


class Finite(click.FloatRange):
    """A number within a range; neither infinity, which bounds nothing, nor NaN, which nothing exceeds."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


def _version(context: click.Context, option: click.Parameter, wanted: bool) -> None:
    """The version of the installed package, or that this is a checkout that was not installed."""
    from importlib import metadata

    if wanted:
        try:
            click.echo(f"latte-workbench, version {metadata.version('latte-workbench')}")
        except metadata.PackageNotFoundError:
            click.echo("latte-workbench, version unknown (not installed; `make env` installs it)")
        context.exit()


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version and exit."
)
def app() -> None:
    """Ablations of latent video diffusion transformers: declare, launch, score, and get a verdict.

    Start with `parts`, then `check` and `plan` an experiment file, `launch` it, and read its `verdict`.
    Every verb with FILE takes overrides such as `learning.steps=100` or `seeds=[0,1]`.
    """


def completed(what: str) -> Callable[[click.Context, click.Parameter, str], Any]:
    """The function of `experiments.cli.completion` of that name, which is imported when the shell asks."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> Any:
        from experiments.cli import completion

        return getattr(completion, what)(context, parameter, incomplete)

    return complete


def verb(
    *,
    on_experiment: bool = True,
    several: bool = False,
    formats: bool = False,
    selects: bool = True,
    assembles: bool = False,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """What all verbs share: errors for people (exit code 2 or 1, no traceback) and, on an experiment, its plan.

    Args:
        on_experiment: the verb takes FILE, overrides and --runs, and is called with the plan that they give.
        several: it takes several files, and is called with the list of their plans.
        selects: it also takes --only.
        formats: it also takes --format.
        assembles: it also finds what is wrong with parts when they are assembled, and tells it with all the rest.
    """

    def wrap(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def guarded(*args: Any, **kwargs: Any) -> None:
            from experiments.cli.console import complain

            try:
                if on_experiment:
                    from experiments.plan.plan import load_plan

                    given: dict[str, Any] = {
                        name: kwargs.pop(name) for name in ("overrides", "runs", "only", "folders") if name in kwargs
                    }
                    given["assembled"] = assembles
                    if several:
                        args = (_load_plans(kwargs.pop("words"), given), *args)
                    else:
                        args = (load_plan(kwargs.pop("file"), **given), *args)
                function(*args, **kwargs)
            except SpecError as error:
                complain(error.problems)
                sys.exit(2)
            except RunError as error:
                complain([str(error)])
                sys.exit(1)
            except BrokenPipeError:  # nobody reads what is printed any more
                raise
            except OSError as error:  # a folder that cannot be made or written, a full disk
                complain([": ".join(map(str, filter(None, [error.filename, error.strerror or error])))])
                sys.exit(1)

        wrapped: Callable[..., None] = guarded
        if formats:
            choice = click.Choice(["table", "json"])
            wrapped = click.option("--format", "form", type=choice, default="table", help="How to print.")(wrapped)
        if on_experiment and selects:
            wrapped = click.option(
                "--only", multiple=True, metavar="PATTERN", help="Arms by name (fnmatch; !PATTERN takes away)."
            )(wrapped)
        if on_experiment:
            wrapped = click.option(
                "--runs",
                type=click.Path(path_type=Path),
                default=Path("runs"),
                show_default=True,
                help="Folder of all runs.",
            )(wrapped)
            if several:
                metavar, complete = "FILE... [KEY.PATH=VALUE]...", completed("words")
                return click.argument("words", nargs=-1, required=True, metavar=metavar, shell_complete=complete)(
                    wrapped
                )
            wrapped = click.argument(
                "overrides", nargs=-1, metavar="[KEY.PATH=VALUE]...", shell_complete=completed("overrides")
            )(wrapped)
            wrapped = click.argument("file", type=click.Path(path_type=Path))(wrapped)
        return wrapped

    return wrap


OVERRIDE = re.compile(r"[A-Za-z_][\w.]*=")


def _load_plans(words: Sequence[str], given: dict[str, Any]) -> "list[Plan]":
    """The plan of each file among the words, with the overrides among them; everything wrong is told in one go."""
    from experiments.plan.plan import load_plan

    files = [Path(word) for word in words if not OVERRIDE.match(word)]
    overrides = [word for word in words if OVERRIDE.match(word)]
    if not files:
        raise SpecError("name at least one experiment file")
    plans, wrong = [], []
    for file in dict.fromkeys(files):
        try:
            plans.append(load_plan(file, overrides, **given))
        except SpecError as error:
            wrong += error.problems
    by_name: dict[str, Path] = {}
    for plan in plans:
        if (other := by_name.setdefault(plan.name, plan.file.path)) != plan.file.path:
            wrong.append(f"{plan.file.path}: name: {other} has the name {plan.name!r} as well; give each file its own")
    if wrong:
        raise SpecError(list(dict.fromkeys(wrong)))
    return plans


@app.command()
@click.option("--slot", shell_complete=completed("slots"), help="Only the parts of this slot.")
@click.option("--plugin", "plugins", multiple=True, metavar="MODULE", help="Also read parts from this module.")
@verb(on_experiment=False, formats=True)
def parts(slot: str | None, plugins: tuple[str, ...], form: str) -> None:
    """List every part of the registry, with its parameters and where it comes from."""
    from experiments.cli import console, parts_list

    rows = parts_list.rows(slot, plugins)
    print(json.dumps(rows, indent=1)) if form == "json" else parts_list.show(rows)
    console.next_command(command(), "check", console.quickstart()) if form == "table" else None


@app.command()
@click.argument("section", required=False, shell_complete=completed("sections"))
@click.option("--plugin", "plugins", multiple=True, metavar="MODULE", help="Also read parts from this module.")
@click.option(
    "--format", "form", type=click.Choice(["table", "json", "md"]), default="table", help="How to print; md: the page."
)
@verb(on_experiment=False)
def keys(section: str | None, plugins: tuple[str, ...], form: str) -> None:
    """List every key of an experiment file with type, default and meaning: all, of a SECTION, or one."""
    from experiments.cli import console, keys_list

    found = keys_list.rows(section, plugins)
    if form == "table":
        keys_list.show(found)
        console.next_command(command(), "parts")
    else:
        print(keys_list.as_json(found) if form == "json" else keys_list.as_markdown(found), end="")


@app.command()
@verb(several=True, formats=True, assembles=True)
def check(plans: "list[Plan]", form: str) -> None:
    """Validate experiments and assemble every arm without memory; everything wrong is told in one go."""
    from experiments.cli import console
    from experiments.plan.check import check as check_plan

    rows, wrong = [], []
    for found in plans:
        try:
            rows += check_plan(found)
        except SpecError as error:
            wrong += error.problems
    if wrong:
        raise SpecError(wrong)
    if form == "json":
        print(json.dumps({"experiment": _one_name(plans), "arms": rows}, indent=1))
    for row in rows if form == "table" else ():
        whose = f"{row['experiment']}: " if len(plans) > 1 else ""
        console.say(f"{whose}{row['arm']}: {row['parameters']:,} parameters, identity {row['identity']}")
    for found in plans:
        _warn(found, apart=form == "json")
    if form == "json":
        return
    console.next_command(*_again("plan"))


def _one_name(plans: "list[Plan]") -> str | None:
    """The name of the only experiment."""
    return plans[0].name if len(plans) == 1 else None


def _warn(found: "Plan", apart: bool = False) -> None:
    """Say what is doubtful about an experiment; on standard error where standard output is for a machine."""
    from experiments.cli import console
    from experiments.plan.warnings import warnings

    if apart:
        return console.complain(warnings(found))
    for line in warnings(found):
        console.say(line)


MEASURE = click.option(
    "--measure", is_flag=True, help="Take a few steps of every arm here, and count the cost by them."
)


@app.command()
@MEASURE
@verb(several=True, formats=True, assembles=True)
def plan(plans: "list[Plan]", measure: bool, form: str) -> None:
    """Show arms, trainings that they share, parameters, MACs, states and GPU-hours; writes nothing.

    With several files one total of all of them, each training counted once.
    """
    from experiments.cli import console
    from experiments.plan import rows as planned

    with console.Bars(apart=form == "json") as bars:
        rows = _arm_rows(plans, measure, bars.show)
    trainings = planned.trainings(plans, rows)
    total = planned.totals(rows, trainings)
    if form == "json":
        name = _one_name(plans)
        print(json.dumps({"experiment": name, "arms": rows, "trainings": trainings, "gpu_hours": total}, indent=1))
        for found in plans:
            _warn(found, apart=True)
    else:
        for found in plans:
            console.plan_table(found, [row for row in rows if row["experiment"] == found.name])
            _warn(found)
        console.plan_totals(plans, rows, trainings, total)
        console.next_command(*_again("launch"))


def _arm_rows(
    plans: "list[Plan]",
    measure: bool,
    progress: Callable[[str, int, int], None],
    defaults: "Shape | None" = None,
    again: bool = False,
) -> list[dict[str, Any]]:
    """The rows of all plans' arms, with what is still to come counted once."""
    from experiments.plan import rows as planned

    rows: list[dict[str, Any]] = []
    trainings: set[Path] = set()
    for found in plans:
        paces = planned.paces(found, progress) if measure else None
        rows += planned.rows(found, paces, defaults, trainings, again)
        trainings |= {replicate.training for replicate in found.replicates}
    return rows


FOLDERS = click.option(
    "--folder", "folders", multiple=True, metavar="PATTERN",
    help="Run folders by name (fnmatch) instead of arms, such as 'trial-3-*' of a search.",
)  # fmt: skip


@app.command()
@FOLDERS
@verb(assembles=True)
def prepare(found: "Plan") -> None:
    """Index the videos, fill the latent cache, and measure the reference statistics."""
    from experiments.cli import console
    from experiments.launch import preparing
    from experiments.plan import videos

    with console.Bars() as bars:
        prepared = preparing.prepare_data(found, bars.show)
    preparing.bind_replicates(found, prepared)
    for line in [*preparing.describe_data(prepared), *videos.lines(found, videos.usable_videos(found))]:
        console.say(line)
    if not found.folders:
        console.next_command(*_again("launch"))


EXECUTOR = click.option(
    "--executor",
    type=click.Choice(["local", "slurm", "debug"]),
    default="local",
    show_default=True,
    help="local: a pool of processes; slurm: job arrays; debug: in this process, the first failure is raised.",
)
DRY_RUN = click.option(
    "--dry-run", is_flag=True, help="Show what would run (slurm: the batch scripts); writes nothing."
)
WAIT = click.option("--wait", is_flag=True, help="slurm: return when nothing waits or runs any more.")
MOST = click.option(
    "--max-gpu-hours", type=Finite(0), metavar="H", help="Refuse to launch what `plan` says costs more."
)


@app.command()
@EXECUTOR
@click.option(
    "--again", is_flag=True, help="Make anew what other code than the present has made; what is there is set aside."
)
@DRY_RUN
@WAIT
@MOST
@MEASURE
@verb(several=True, assembles=True)
def launch(plans: "list[Plan]", again: bool, **how: Any) -> None:
    """Run every replicate that is not done; the same command again resumes, and skips what is finished.

    With a `screen` in the file only the best arms run to their end; this process watches until then, on Slurm as well,
    and can be killed: the same command goes on.
    """

    from experiments.cli import console
    from experiments.launch import making_anew
    from experiments.search import workflow

    _within_budget(plans, how["executor"], how.pop("max_gpu_hours"), how.pop("measure"), again)
    failed = []
    for found in plans:  # one behind the other; what one has trained, the next finds done
        try:
            for line in making_anew.set_aside(found) if again and not how["dry_run"] else ():
                console.say(line)
            _start(found, workflow.launch, again=again, **how)
        except RunError as error:
            if len(plans) == 1:
                raise
            failed.append(f"{found.name}: {error}")
    if failed:
        raise RunError("\n".join(failed))


@app.command()
@EXECUTOR
@DRY_RUN
@WAIT
@MOST
@MEASURE
@verb(assembles=True)
def retry(found: "Plan", dry_run: bool, **how: Any) -> None:
    """Launch again with the failed and cancelled replicates; they go on from their last checkpoint."""
    from experiments.cli import console
    from experiments.launch import launching
    from experiments.search import workflow

    _within_budget([found], how["executor"], how.pop("max_gpu_hours"), how.pop("measure"))
    if dry_run:
        console.say(f"{len(launching.retried(found))} failed or cancelled replicates would be tried again")
    _start(found, workflow.retry, dry_run=dry_run, **how)


def _within_budget(plans: "list[Plan]", executor: str, most: float | None, measure: bool, again: bool = False) -> None:
    from experiments.cli import console
    from experiments.launch.executors import EXECUTORS
    from experiments.plan import costs

    if measure and most is None:
        raise SpecError(
            "--measure of a launch is for --max-gpu-hours, which is not given; `plan --measure` shows the cost"
        )
    if most is not None:
        defaults = EXECUTORS[executor].defaults()
        with console.Bars() as bars:
            rows = _arm_rows(plans, measure, bars.show, defaults, again)
        screened = any(found.file.experiment.screen is not None for found in plans)
        costs.refuse_above(rows, most, screened)


def _start(
    found: "Plan", start: "Callable[..., Outcome]", executor: str, dry_run: bool, wait: bool, again: bool = False
) -> None:
    """Launch or retry, and print what came of it."""
    from experiments.cli import console
    from experiments.launch.launching import preview

    _warn(found)
    if dry_run:
        for text in preview(found, executor, again):
            console.say(text)
        return
    with console.Bars() as bars:
        outcome = start(found, executor, wait=wait, watcher=bars)
    launched = outcome.launched
    if outcome.waits:
        console.say(f"{len(launched.submitted)} of {len(launched.todo)} replicates were submitted now")
        return console.next_command(*_again("status"), "--watch")
    if outcome.report is not None:
        console.show_report(outcome.report)
    _print_verdict(found, "table")
    console.next_command(*_again("logs" if outcome.unfinished else "table"))
    if outcome.unfinished:
        raise RunError("\n".join(outcome.unfinished))


@app.command()
@EXECUTOR
@click.option("--show", is_flag=True, help="Only show what was found so far; nothing is run.")
@verb(formats=True, selects=False, assembles=True)
def search(found: "Plan", executor: str, show: bool, form: str) -> None:
    """Search over keys of the spec as the file's `search` says; killed and started again, it goes on.

    On Slurm this process only submits and watches: it may run on the login node or in a job, and be killed.
    """
    from analysis import search_figures
    from experiments.cli import console, search_view
    from experiments.search import results

    study = results.read(found) if show else _searched(found, executor, apart=form == "json")
    told = results.summary(found, study)
    drawn = search_figures.draw(**results.for_figures(found, told))
    if form == "json":
        return print(json.dumps(told, indent=1))
    search_view.show_search(told)
    for path in drawn:
        console.say(f"wrote {path}")
    console.next_command(*_again("search"), *([] if show else ["--show"]))


def _searched(found: "Plan", executor: str, apart: bool) -> "Study":
    from experiments.cli import console
    from experiments.launch.executors import EXECUTORS
    from experiments.search.searching import run_search
    from experiments.search.workflow import WATCHING
    from experiments.tracking import mlflow_sync

    with console.Bars(apart) as bars:
        if EXECUTORS[executor].detached:
            bars.line(WATCHING)
        study, todo = run_search(found, executor, bars.show, bars.watch, bars.line)
    tracked = f"{found.name}-search", todo, found.runs
    if untracked := mlflow_sync.try_sync(*tracked, lambda what, done, total: bars.line(what)):
        bars.line(f"not tracked yet: {untracked}; the same command does it later, nothing is lost")
    return study


def _reason(context: click.Context, option: click.Parameter, value: str | None) -> str:
    if value is not None and not value.strip():
        raise click.BadParameter("say why the difference in code is harmless.", context, option)
    return (value or "").strip()


MIXED_CODE = click.option(
    "--mixed-code", "harmless", metavar="REASON", callback=_reason,
    help="Judge arms that were made by different code as well: REASON says why that is harmless, and is printed.",
)  # fmt: skip


@app.command()
@click.option("--overridden", is_flag=True, hidden=True)  # for the report of a launch: its file has overrides worked in
@MIXED_CODE
@verb()
def report(found: "Plan", overridden: bool, harmless: str) -> None:
    """Write the figures, the table and the verdict as files, fill MLflow, and measure the floor of resampling."""
    from experiments.cli import console
    from experiments.launch.report import report as report_plan

    with console.Bars() as bars:
        written = report_plan(found, bars.show, overridden=overridden or None, harmless=harmless)
    console.show_report(written)
    _print_verdict(found, "table", harmless)
    console.next_command(*_again("table"))


@app.command()
@click.option("--watch", is_flag=True, help="Again every few seconds, until nothing waits or runs.")
@verb(several=True, formats=True)
def status(plans: "list[Plan]", watch: bool, form: str) -> None:
    """How far every replicate is; read from its files and from Slurm's queue, nothing is written."""
    from experiments.cli import console, status_view
    from experiments.plan.status import mixed
    from experiments.plan.status import rows as rows_of

    found_rows, mixed_code = [], []
    for found in plans:
        rows = status_view.watch(found, apart=form == "json") if watch else rows_of(found)
        found_rows += [{"experiment": found.name, **row} for row in rows]
        mixed_code += [{"experiment": found.name, **one.as_json()} for one in mixed(rows)]
        if form == "table":
            status_view.show(found, rows)
    if form == "json":
        told = {"experiment": _one_name(plans), "replicates": found_rows, "mixed_code": mixed_code}
        print(json.dumps(told, indent=1))
    else:
        states = {row["state"] for row in found_rows}
        following = "status" if states & {"queued", "running"} else "launch"
        following = "retry" if states & {"failed", "cancelled"} else following
        console.next_command(*_again("verdict" if states <= {"done", "stopped"} else following))


@app.command()
@click.option("--seed", type=int, help="Only this seed.")
@click.option("--lines", type=click.IntRange(0), default=20, show_default=True, help="So many last lines of each log.")
@click.option("--follow", is_flag=True, help="Go on printing as the logs grow, until nothing waits or runs.")
@verb(formats=True)
def logs(found: "Plan", seed: int | None, lines: int, follow: bool, form: str) -> None:
    """The last lines of each replicate's log (pick arms by --only), and the traceback of a failed one."""
    from experiments.cli import console, status_view
    from experiments.plan import logs

    if follow and form == "json":
        raise SpecError("--follow prints as logs grow, --format json once: give one of the two")
    if follow:
        status_view.follow(found, seed)
    else:
        rows = logs.rows(found, seed, lines)
        if form == "json":
            return print(json.dumps({"experiment": found.name, "replicates": rows}, indent=1))
        status_view.show_logs(rows)
    console.next_command(*_again("status"))


@app.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be cancelled.")
@FOLDERS
@verb()
def cancel(found: "Plan", dry_run: bool) -> None:
    """End the replicates that wait or run (pick arms by --only), wherever they do; `retry` goes on with them."""
    from experiments.cli import console
    from experiments.launch import launching

    ended = launching.cancel(found, dry_run)
    for replicate in ended:
        console.say(f"{'would cancel' if dry_run else 'cancelled'} {replicate.name}")
    console.say(f"{len(ended)} replicates")
    searched = found.folders and found.file.experiment.search is not None
    console.next_command(*([*_again("search"), "--show"] if searched else _again("status")))


@app.command()
@click.option(
    "--tracking-uri", help="MLflow server or store; left out: $MLFLOW_TRACKING_URI, else sqlite in the runs folder."
)
@verb(formats=True)
def sync(found: "Plan", tracking_uri: str | None, form: str) -> None:
    """Fill MLflow from the run folders; again adds nothing."""
    from experiments.cli import console
    from experiments.tracking import mlflow_sync

    uri = tracking_uri or mlflow_sync.default_uri(found.runs)
    with console.Bars(apart=form == "json") as bars:
        told = mlflow_sync.sync(found.name, found.replicates, uri, waiting=lambda who: bars.line(f"waits for {who}"))
    if form == "json":
        return print(json.dumps({"experiment": found.name, "tracking_uri": uri, **told}, indent=1))
    console.say(f"{uri}: {told['runs']} runs, {told['points']} metric points added")
    if not uri.startswith("http"):  # a server is looked at where it is
        console.next_command(f"{module_command('mlflow')} ui --backend-store-uri", uri)


@app.command()
@click.option("--metric", "metrics", multiple=True, help="Only these scores; left out: all but the noise bands.")
@click.option(
    "--format", "form", type=click.Choice(["table", "json", "md", "tex", "csv"]), default="table", help="How to print."
)
@click.option("--at-step", "step", type=click.IntRange(1), help="The evaluations at this step (see `evaluate_at`).")
@verb()
def table(found: "Plan", metrics: tuple[str, ...], form: str, step: int | None) -> None:
    """Scores by arm: mean, spread over seeds, and difference to the baseline."""
    from analysis import rendering
    from experiments.cli import console
    from experiments.plan import reading

    floors = reading.floors_of(found)
    frame = reading.frame_of(found, step, selected=True)
    console.put(rendering.scores_table(frame, metrics, form, found.name, floors))
    console.next_command(*_again("verdict")) if form == "table" else None


@app.command()
@MIXED_CODE
@verb(formats=True)
def verdict(found: "Plan", harmless: str, form: str) -> None:
    """Answer the experiment's claims: supported, contradicted, or undecided; nothing is written.

    Arms that were made by different code get no verdict, unless --mixed-code says why it does not matter.
    """
    _print_verdict(found, form, harmless, refuses=True)


@app.command()
@click.option("--format", "form", type=click.Choice(["yaml", "json"]), default="yaml", help="How to print.")
@verb()
def show(found: "Plan", form: str) -> None:
    """The resolved spec of each arm (see --only): every choice named, every default written out."""
    from experiments.plan.resolved_specs import specs_text

    print(specs_text(found, form), end="")


@app.command()
@verb(formats=True)
def diff(found: "Plan", form: str) -> None:
    """The keys in which each arm (see --only) differs from the baseline, as resolved."""
    from experiments.cli import console
    from experiments.plan.resolved_specs import differences

    rows, baseline = differences(found), found.arms[0].name
    if form == "json":
        return print(json.dumps({"experiment": found.name, "baseline": baseline, "arms": rows}, indent=1))
    console.show_differences(baseline, rows)
    console.next_command(*_again("plan"))


RUNS = click.option(
    "--runs", type=click.Path(path_type=Path), default=Path("runs"), show_default=True, help="Folder of all runs."
)
FOLDER = click.Path(path_type=Path)


@app.command()
@click.argument("samples", type=FOLDER)
@click.option("--against", type=FOLDER, required=True, metavar="REFERENCE", help="The real videos.")
@click.option(
    "--protocol",
    "name",
    shell_complete=completed("protocols"),
    help="clean, latte_compatible, demo, a YAML file, a scores.json, or a run folder; left out: the run's, else clean.",
)
@click.option("--metrics", help="Comma-separated, instead of the protocol's; `parts --slot metric` lists them.")
@click.option(
    "--processes", type=click.IntRange(1, 1024), help="That measure at once; left out: one a core, by the clips."
)
@click.option("--batch-size", type=click.IntRange(1), default=8, show_default=True, help="Clips a process holds.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--floors/--no-floors", default=True, help="Also hold real clips against real clips of other videos.")
@click.option("--plugin", "plugins", multiple=True, metavar="MODULE", help="Also read parts from this module.")
@click.option(
    "--sample-again", is_flag=True, help="Sample again what a run has dropped of its samples (runtime.keep_samples)."
)
@click.option("--out", type=FOLDER, help="For scores.json and the plot; left out: a folder under the runs.")
@RUNS
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...", shell_complete=completed("protocol_overrides"))
@verb(on_experiment=False, formats=True)
def score(samples: Path, against: Path, form: str, **options: Any) -> None:
    """Score a folder of videos, frame folders, .npy clips or a run against another; trains nothing.

    KEY=VALUE changes the protocol: `frames=16 real_interval=3 resolution=256 detector=i3d`.
    """
    from experiments.cli import console
    from experiments.scores import score_folders

    request = score_folders.request_of(samples, against, **options)
    with console.Bars(apart=form == "json") as bars:
        found = score_folders.score_folders(request, bars.show)
    print(json.dumps(found, indent=1)) if form == "json" else console.show_scores(found)


@app.group()
def protocol() -> None:
    """What a score depends on besides the samples: show a protocol, or where two differ."""


PROTOCOL = "a preset, a YAML file, a scores.json, or a run folder"


@protocol.command("show")
@click.argument("name", metavar="PROTOCOL", shell_complete=completed("protocols"))
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...", shell_complete=completed("protocol_overrides"))
@verb(on_experiment=False, formats=True)
def show_protocol(name: str, overrides: tuple[str, ...], form: str) -> None:
    """Every key of PROTOCOL: a preset, a YAML file, a scores.json, or a run folder."""
    from experiments.cli import console
    from experiments.scores import protocols

    found = protocols.show(name, overrides)
    print(json.dumps(found, indent=1)) if form == "json" else console.show_protocols(found)


@protocol.command("diff")
@click.argument("left")
@click.argument("right")
@verb(on_experiment=False, formats=True)
def diff_protocols(left: str, right: str, form: str) -> None:
    """The keys in which two protocols differ (presets, YAML files, scores.json, or run folders)."""
    from experiments.cli import console
    from experiments.scores import protocols

    rows = protocols.diff(left, right)
    if form == "json":
        print(json.dumps([{"key": key, "left": a, "right": b} for key, a, b in rows], indent=1))
    else:
        console.show_protocol_diff(left, right, rows)


@app.command("fetch-weights")
@click.argument("name", required=False)
@click.option("--sha256", default="", help="Refuse a file with another SHA-256 than this.")
@verb(on_experiment=False, formats=True)
def fetch_weights(name: str | None, sha256: str, form: str) -> None:
    """Get published weights of a detector into the cache; without NAME, list what there is."""
    from components.scoring import weights
    from experiments.cli import console, doctor

    if name is None:
        found = doctor.weights()
        return print(console.checks_as_json(found)) if form == "json" else console.show_checks(found)
    with console.Bars(apart=form == "json") as bars:
        path = weights.fetch(name, bars.show, sha256)
    if form == "json":
        return print(json.dumps(weights.about(name, path, sha256), indent=1))
    console.say(weights.checked(name, path, sha256))


@app.command("list")
@RUNS
@verb(on_experiment=False, formats=True)
def list_runs(runs: Path, form: str) -> None:
    """Experiments and trainings of a runs folder, with size, age, and who refers to them; writes nothing."""
    from experiments.cli import console
    from experiments.plan import inventory

    experiments, trainings = inventory.experiments_in(runs), inventory.trainings_in(runs)
    if form == "json":
        return print(json.dumps({"experiments": experiments, "trainings": trainings}, indent=1))
    console.show_inventory(experiments, trainings)
    console.next_command(command(), "prune", "--dry-run")


@app.command()
@RUNS
@click.option("--dry-run", is_flag=True, help="Only show what would be removed.")
@click.option("--yes", is_flag=True, help="Remove without asking.")
@verb(on_experiment=False, formats=True)
def prune(runs: Path, dry_run: bool, yes: bool, form: str) -> None:
    """Remove trainings, evaluations and frozen code that no experiment's folder leads to, after asking.

    An experiment refers to what its folder under the runs leads to; remove that folder, and its trainings can go.
    """
    from experiments.cli import console
    from experiments.plan import inventory

    found = inventory.unreferenced(runs)
    if form == "json":
        rows = [{"path": str(one.path), "what": one.what, "bytes": one.size, "kept": one.kept} for one in found]
        print(json.dumps(rows, indent=1))
    else:
        console.show_unreferenced(found)
    if dry_run or not any(not one.kept for one in found):
        return
    if not yes and not sys.stdin.isatty():
        raise SpecError("prune removes folders for good: add --yes, or --dry-run to only look")
    if yes or click.confirm("Remove these for good?"):
        freed = inventory.prune(found)
        console.say(f"{freed / 1e6:,.1f} MB freed") if form == "table" else None


@app.command()
@RUNS
@verb(on_experiment=False, formats=True)
def doctor(runs: Path, form: str) -> None:
    """What this machine has: packages, devices, decoders, Slurm, weights, room on disk."""
    from experiments.cli import console, doctor

    found = doctor.checks(runs)
    if form == "json":
        return print(console.checks_as_json(found))
    console.show_checks(found)
    console.next_command(command(), "launch", console.quickstart())


def _again(verb: str) -> list[str]:
    """The command with another verb on the same experiment: file, overrides, runs folder and selection as given."""
    given = click.get_current_context().params
    words = [
        command(),
        verb,
        *(given["words"] if "words" in given else (str(given["file"]), *given["overrides"])),
    ]
    if given["runs"] != Path("runs"):
        words += ["--runs", str(given["runs"])]
    return words + [word for pattern in given.get("only", ()) for word in ("--only", pattern)]


def _print_verdict(found: "Plan", form: str, harmless: str = "", refuses: bool = False) -> None:
    """The answers to the claims about selected arms alone, and how many there are beside them.

    Raises:
        RunError: an answer is refused, where that is an error.
    """
    from analysis import rendering, verdicts
    from experiments.cli import console
    from experiments.plan import reading

    answers = reading.answers_of(found, selected=True, harmless=harmless)
    left_out = len(found.claims) - len(answers)
    if form == "json" or answers or not left_out:
        console.put(rendering.verdicts_table(found.name, answers, form))
    if form == "table" and left_out:
        print(f"{found.name}: --only leaves out arms of {left_out} claim{'' if left_out == 1 else 's'}")
    if harmless and form == "table" and not any(answer.mixed_code for answer in answers):
        console.say(f"{found.name}: one code made all of these arms; --mixed-code is not needed")
    if refuses and (why := verdicts.refusal(answers)):
        raise RunError(why)


if __name__ == "__main__":
    app()
