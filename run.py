"""The command line: every verb parses its words, calls one function, and prints what it gave."""

import functools
import json
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from registry.command import command, module_command
from registry.errors import RunError, SpecError

if TYPE_CHECKING:
    from pandas import DataFrame

    from analysis.verdicts import Verdict
    from experiments.plans import Plan
    from experiments.search_study import Study


class Verbs(click.Group):
    """Verbs in the order in which they are used, not in that of the alphabet; any terminal and any reader will do."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        from experiments import terminal

        terminal.replace_what_cannot_be_shown()
        if any(name.endswith("_COMPLETE") for name in os.environ):
            from experiments import completion  # noqa: F401 - it tells click how bash completes here
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
    """The function of `experiments.completion` of that name, which is imported when the shell asks."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> Any:
        from experiments import completion

        return getattr(completion, what)(context, parameter, incomplete)

    return complete


def verb(
    *, on_experiment: bool = True, formats: bool = False, selects: bool = True, assembles: bool = False
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """What all verbs share: errors for people (exit code 2 or 1, no traceback) and, on an experiment, its plan.

    Args:
        on_experiment: the verb takes FILE, overrides and --runs, and is called with the plan that they give.
        selects: it also takes --only.
        formats: it also takes --format.
        assembles: it also finds what is wrong with parts when they are assembled, and tells it with all the rest.
    """

    def wrap(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def guarded(*args: Any, **kwargs: Any) -> None:
            from experiments.console import complain

            try:
                if on_experiment:
                    from experiments.plans import load_plan

                    given = {
                        name: kwargs.pop(name) for name in ("overrides", "runs", "only", "folders") if name in kwargs
                    }
                    args = (load_plan(kwargs.pop("file"), **given, assembled=assembles), *args)
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
            wrapped = click.argument(
                "overrides", nargs=-1, metavar="[KEY.PATH=VALUE]...", shell_complete=completed("overrides")
            )(wrapped)
            wrapped = click.argument("file", type=click.Path(path_type=Path))(wrapped)
        return wrapped

    return wrap


@app.command()
@click.option("--slot", shell_complete=completed("slots"), help="Only the parts of this slot.")
@click.option("--plugin", "plugins", multiple=True, metavar="MODULE", help="Also read parts from this module.")
@verb(on_experiment=False, formats=True)
def parts(slot: str | None, plugins: tuple[str, ...], form: str) -> None:
    """List every part of the registry, with its parameters and where it comes from."""
    from experiments import console, parts_list

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
    from experiments import console, keys_list

    found = keys_list.rows(section, plugins)
    if form == "table":
        keys_list.show(found)
        console.next_command(command(), "parts")
    else:
        print(keys_list.as_json(found) if form == "json" else keys_list.as_markdown(found), end="")


@app.command()
@verb(formats=True, assembles=True)
def check(found: "Plan", form: str) -> None:
    """Validate an experiment and assemble every arm without memory; everything wrong is told in one go."""
    from experiments import console, plans

    rows = plans.check(found)
    if form == "json":
        return print(json.dumps({"experiment": found.name, "arms": rows}, indent=1))
    for row in rows:
        console.say(f"{row['arm']}: {row['parameters']:,} parameters, identity {row['identity']}")
    console.next_command(*_again("plan"))


MEASURE = click.option(
    "--measure", is_flag=True, help="Take a few steps of every arm here, and count the cost by them."
)


@app.command()
@MEASURE
@verb(formats=True, assembles=True)
def plan(found: "Plan", measure: bool, form: str) -> None:
    """Show arms, identities, depths, parameters, MACs, states and GPU-hours; writes nothing."""
    from experiments import console, plans

    with console.Bars(apart=form == "json") as bars:
        paces = plans.paces(found, bars.show) if measure else None
    rows = plans.rows(found, paces)
    if form == "json":
        print(json.dumps({"experiment": found.name, "arms": rows}, indent=1))
    else:
        console.plan_table(found, rows)
        console.next_command(*_again("launch"))


FOLDERS = click.option(
    "--folder", "folders", multiple=True, metavar="PATTERN",
    help="Run folders by name (fnmatch) instead of arms, such as 'trial-3-*' of a search.",
)  # fmt: skip


@app.command()
@FOLDERS
@verb(assembles=True)
def prepare(found: "Plan") -> None:
    """Index the videos, fill the latent cache, and measure the reference statistics."""
    from experiments import console, preparing

    with console.Bars() as bars:
        prepared = preparing.prepare_data(found, bars.show)
    preparing.bind_replicates(found, prepared)
    for line in preparing.describe_data(prepared):
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


WATCHING = (
    "this process only submits and watches: it can be killed, its jobs go on, and the same command goes on with them"
)


@app.command()
@EXECUTOR
@DRY_RUN
@WAIT
@MOST
@MEASURE
@verb(assembles=True)
def launch(found: "Plan", **how: Any) -> None:
    """Run every replicate that is not done; the same command again resumes, and skips what is finished.

    With a `screen` in the file only the best arms run to their end; this process watches until then, on Slurm as well,
    and can be killed: the same command goes on.
    """

    _within_budget(found, how["executor"], how.pop("max_gpu_hours"), how.pop("measure"))
    _launch(found, **how)


@app.command()
@EXECUTOR
@DRY_RUN
@WAIT
@MOST
@MEASURE
@verb(assembles=True)
def retry(found: "Plan", dry_run: bool, **how: Any) -> None:
    """Launch again with the failed and cancelled replicates; they go on from their last checkpoint."""
    from experiments import console, launching

    _within_budget(found, how["executor"], how.pop("max_gpu_hours"), how.pop("measure"))
    again = launching.retried(found) if dry_run else launching.retry(found)
    console.say(f"{len(again)} failed or cancelled replicates {'would be' if dry_run else 'are'} tried again")
    _launch(found, dry_run=dry_run, **how)


def _within_budget(found: "Plan", executor: str, most: float | None, measure: bool) -> None:
    from experiments import console, costs, plans, submitting

    if measure and most is None:
        raise SpecError(
            "--measure of a launch is for --max-gpu-hours, which is not given; `plan --measure` shows the cost"
        )
    if most is not None:
        defaults = submitting.defaults_here() if executor == "slurm" else None
        with console.Bars() as bars:
            paces = plans.paces(found, bars.show) if measure else None
        screened = found.file.experiment.screen is not None
        costs.refuse_above(plans.rows(found, paces, defaults), most, screened)


def _launch(found: "Plan", executor: str, dry_run: bool, wait: bool) -> None:
    from experiments import console, launching, status, submitting

    screened = found.file.experiment.screen is not None
    if dry_run:
        for text in submitting.dry_run(found, executor):
            console.say(text)
        return
    with console.Bars() as bars:
        if screened:
            from experiments.screening import launch_screened

            if executor == "slurm":
                bars.line(WATCHING)
            launched = launch_screened(found, executor, bars.show, bars.watch, bars.line)
        elif executor == "slurm":
            launched = submitting.launch_slurm(found)
            for line in launched.jobs:
                console.say(f"submitted {line}")
            if not wait:
                console.say(f"{len(launched.submitted)} of {len(launched.todo)} replicates were submitted now")
                return console.next_command(*_again("status"), "--watch")
            submitting.wait_for_slurm(launched, bars.watch, bars.line)
        else:
            launched = launching.launch_here(found, executor, bars.show, bars.watch)
    if executor == "slurm" and not screened:  # the report job has written and synced everything
        console.put(_verdicts(found, "table"))
    else:
        _report(found)
    unfinished = launching.unfinished(launched.todo)
    console.next_command(*_again("logs" if unfinished else "table"))
    if unfinished:
        total = f"{len(unfinished)} of {len(launched.todo)} replicates are not done"
        raise RunError("\n".join([*unfinished, *status.beside(found, status.rows(found)), total]))


@app.command()
@EXECUTOR
@click.option("--show", is_flag=True, help="Only show what was found so far; nothing is run.")
@verb(formats=True, selects=False, assembles=True)
def search(found: "Plan", executor: str, show: bool, form: str) -> None:
    """Search over keys of the spec as the file's `search` says; killed and started again, it goes on.

    On Slurm this process only submits and watches: it may run on the login node or in a job, and be killed.
    """
    from analysis import search_figures
    from experiments import console, search_results

    study = search_results.read(found) if show else _searched(found, executor, apart=form == "json")
    told = search_results.summary(found, study)
    drawn = search_figures.draw(**search_results.for_figures(found, told))
    if form == "json":
        return print(json.dumps(told, indent=1))
    search_results.show(told)
    for path in drawn:
        console.say(f"wrote {path}")
    console.next_command(*_again("search"), *([] if show else ["--show"]))


def _searched(found: "Plan", executor: str, apart: bool) -> "Study":
    from experiments import console, tracking
    from experiments.search import run_search

    with console.Bars(apart) as bars:
        if executor == "slurm":
            bars.line(WATCHING)
        study, todo = run_search(found, executor, bars.show, bars.watch, bars.line)
    if untracked := tracking.try_sync(f"{found.name}-search", todo, found.runs):
        bars.line(f"not tracked yet: {untracked}; the same command does it later, nothing is lost")
    return study


@app.command()
@verb()
def report(found: "Plan") -> None:
    """Write the figures, the table and the verdict as files, fill MLflow, and measure the floor of resampling."""
    from experiments import console

    _report(found)
    console.next_command(*_again("table"))


def _report(found: "Plan") -> None:
    """What stands at the end of every launch. The floor comes last, since it takes long; then all is written anew."""
    from experiments import console, preparing, tracking

    written = _write_report(found)
    if untracked := tracking.try_sync(found.name, found.all_replicates, found.runs):
        console.say(f"not tracked yet: {untracked}; `sync` does it later, nothing is lost")
    with console.Bars() as bars:
        try:
            if preparing.late_floor(found, found.all_replicates, bars.show):
                written = _write_report(found)
        except RunError as error:
            bars.line(f"the floor of resampling was not measured: {error}")
    for path in written:
        console.say(f"wrote {path}")
    console.put(_verdicts(found, "table"))


def _write_report(found: "Plan") -> list[Path]:
    from analysis import pictures, reports

    frame, floors = _frame(found), _floors(found)
    drawn = pictures.draw(found.folder, frame, floors)
    return [*drawn, *reports.write(found.folder, found.name, frame, floors, _answers(found))]


@app.command()
@click.option("--watch", is_flag=True, help="Again every few seconds, until nothing waits or runs.")
@verb(formats=True)
def status(found: "Plan", watch: bool, form: str) -> None:
    """How far every replicate is; read from its files and from Slurm's queue, nothing is written."""
    from experiments import console
    from experiments import status as progress

    rows = progress.watch(found, apart=form == "json") if watch else progress.rows(found)
    if form == "json":
        print(json.dumps({"experiment": found.name, "replicates": rows}, indent=1))
    else:
        progress.show(found, rows)
        states = {row["state"] for row in rows}
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
    from experiments import console
    from experiments import status as progress

    if follow and form == "json":
        raise SpecError("--follow prints as logs grow, --format json once: give one of the two")
    if follow:
        progress.follow(found, seed)
    else:
        rows = progress.logs(found, seed, lines)
        if form == "json":
            return print(json.dumps({"experiment": found.name, "replicates": rows}, indent=1))
        progress.show_logs(rows)
    console.next_command(*_again("status"))


@app.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be cancelled.")
@FOLDERS
@verb()
def cancel(found: "Plan", dry_run: bool) -> None:
    """End the replicates that wait or run (pick arms by --only), wherever they do; `retry` goes on with them."""
    from experiments import console, launching

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
    from experiments import console, tracking

    uri = tracking_uri or tracking.default_uri(found.runs)
    with console.Bars(apart=form == "json") as bars:
        told = tracking.sync(found.name, found.replicates, uri, waiting=lambda who: bars.line(f"waits for {who}"))
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
@verb()
def table(found: "Plan", metrics: tuple[str, ...], form: str) -> None:
    """Scores by arm: mean, spread over seeds, and difference to the baseline."""
    from analysis import rendering
    from experiments import console

    console.put(rendering.scores_table(_frame(found, selected=True), metrics, form, found.name, _floors(found)))
    console.next_command(*_again("verdict")) if form == "table" else None


@app.command()
@verb(formats=True)
def verdict(found: "Plan", form: str) -> None:
    """Answer the experiment's claims: supported, contradicted, or undecided; nothing is written."""
    from experiments import console

    console.put(_verdicts(found, form))


@app.command()
@click.option("--format", "form", type=click.Choice(["yaml", "json"]), default="yaml", help="How to print.")
@verb()
def show(found: "Plan", form: str) -> None:
    """The resolved spec of each arm (see --only): every choice named, every default written out."""
    from experiments import plans

    print(plans.specs_text(found, form), end="")


@app.command()
@verb(formats=True)
def diff(found: "Plan", form: str) -> None:
    """The keys in which each arm (see --only) differs from the baseline, as resolved."""
    from experiments import console, plans

    rows = plans.differences(found)
    if form == "json":
        return print(json.dumps({"experiment": found.name, "baseline": found.arms[0].name, "arms": rows}, indent=1))
    console.show_differences(found.arms[0].name, rows)
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
@click.option("--metrics", help="Comma-separated, instead of the protocol's: fvd,kvd,fid,kid,inception_score.")
@click.option(
    "--processes", type=click.IntRange(1, 1024), help="That measure at once; left out: one a core, by the clips."
)
@click.option("--batch-size", type=click.IntRange(1), default=8, show_default=True, help="Clips a process holds.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--floors/--no-floors", default=True, help="Also hold real clips against real clips of other videos.")
@click.option("--plugin", "plugins", multiple=True, metavar="MODULE", help="Also read parts from this module.")
@click.option("--out", type=FOLDER, help="For scores.json and the plot; left out: a folder under the runs.")
@RUNS
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...", shell_complete=completed("protocol_overrides"))
@verb(on_experiment=False, formats=True)
def score(samples: Path, against: Path, form: str, **options: Any) -> None:
    """Score a folder of videos, frame folders, .npy clips or a run against another; trains nothing.

    KEY=VALUE changes the protocol: `frames=16 real_interval=3 resolution=256 detector=i3d`.
    """
    from analysis import figures
    from experiments import console, score_folders

    request = score_folders.request_of(samples, against, **options)
    with console.Bars(apart=form == "json") as bars:
        found = score_folders.score_folders(request, bars.show)
    plot = figures.draw_curves(found["scores"], Path(found["out"]) / "curve.png")
    print(json.dumps(found, indent=1)) if form == "json" else console.show_scores(found, plot)


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
    from experiments import console, protocols

    found = protocols.show(name, overrides)
    print(json.dumps(found, indent=1)) if form == "json" else console.show_protocols(found)


@protocol.command("diff")
@click.argument("left")
@click.argument("right")
@verb(on_experiment=False, formats=True)
def diff_protocols(left: str, right: str, form: str) -> None:
    """The keys in which two protocols differ (presets, YAML files, scores.json, or run folders)."""
    from experiments import console, protocols

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
    from experiments import console, doctor

    if name is None:
        found = doctor.weights()
        return print(console.checks_as_json(found)) if form == "json" else console.show_checks(found)
    with console.Bars(apart=form == "json") as bars:
        path = weights.fetch(name, bars.show, sha256)
    if form == "json":
        return print(json.dumps(weights.about(name, path, sha256), indent=1))
    console.say(weights.checked(name, path, sha256))


@app.command()
@RUNS
@verb(on_experiment=False, formats=True)
def doctor(runs: Path, form: str) -> None:
    """What this machine has: packages, devices, decoders, Slurm, weights, room on disk."""
    from experiments import console, doctor

    found = doctor.checks(runs)
    if form == "json":
        return print(console.checks_as_json(found))
    console.show_checks(found)
    console.next_command(command(), "launch", console.quickstart())


def _again(verb: str) -> list[str]:
    """The command with another verb on the same experiment: file, overrides, runs folder and selection as given."""
    given = click.get_current_context().params
    words = [command(), verb, str(given["file"]), *given["overrides"]]
    if given["runs"] != Path("runs"):
        words += ["--runs", str(given["runs"])]
    return words + [word for pattern in given.get("only", ()) for word in ("--only", pattern)]


def _frame(found: "Plan", *, selected: bool = False) -> "DataFrame":
    from analysis import results

    return results.load(replicate.row() for replicate in (found.replicates if selected else found.all_replicates))


def _floors(found: "Plan") -> list[dict[str, Any]]:
    from registry.runs import read_floors

    return read_floors(found.folder)


def _verdicts(found: "Plan", form: str) -> str:
    from analysis import rendering

    return rendering.verdicts_table(found.name, _answers(found), form, len(found.claims))


def _answers(found: "Plan") -> "list[Verdict]":
    from analysis import verdicts

    selected = {arm.name for arm in found.selected}
    claims = [claim for claim in found.claims if set(claim.arms) <= selected]
    return verdicts.judge(_frame(found), claims, floors=_floors(found))


if __name__ == "__main__":
    app()
