"""Verbs about scores without an experiment: score, protocol, fetch-weights."""

import json
from pathlib import Path
from typing import Any

import click

from experiments.cli.options import FOLDER, PLUGINS, RUNS, completed, verb
from registry.errors import SpecError


@click.command()
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
@PLUGINS
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
    from experiments.cli import score_view
    from experiments.cli.progress import Bars
    from experiments.scores import score_folders

    request = score_folders.request_of(samples, against, **options)
    with Bars(apart=form == "json") as bars:
        found = score_folders.score_folders(request, bars.show)
    print(json.dumps(found, indent=1)) if form == "json" else score_view.show_scores(found)


@click.group()
def protocol() -> None:
    """What a score depends on besides the samples: show a protocol, or where two differ."""


@protocol.command("show")
@click.argument("name", metavar="PROTOCOL", shell_complete=completed("protocols"))
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...", shell_complete=completed("protocol_overrides"))
@verb(on_experiment=False, formats=True)
def show_protocol(name: str, overrides: tuple[str, ...], form: str) -> None:
    """Every key of PROTOCOL: a preset, a YAML file, a scores.json, or a run folder."""
    from experiments.cli import score_view
    from experiments.scores import protocols

    found = protocols.show(name, overrides)
    print(json.dumps(found, indent=1)) if form == "json" else score_view.show_protocols(found)


@protocol.command("diff")
@click.argument("left")
@click.argument("right")
@verb(on_experiment=False, formats=True)
def diff_protocols(left: str, right: str, form: str) -> None:
    """The keys in which two protocols differ (presets, YAML files, scores.json, or run folders)."""
    from experiments.cli import score_view
    from experiments.scores import protocols

    rows = protocols.diff(left, right)
    if form == "json":
        print(json.dumps([{"key": key, "left": a, "right": b} for key, a, b in rows], indent=1))
    else:
        score_view.show_protocol_diff(left, right, rows)


@click.command("fetch-weights")
@click.argument("name", required=False)
@click.option("--sha256", default="", help="Refuse a file with another SHA-256 than this.")
@verb(on_experiment=False, formats=True)
def fetch_weights(name: str | None, sha256: str, form: str) -> None:
    """Get published weights of a part into the cache; without NAME, list what there is."""
    from components import weights
    from experiments.cli import doctor
    from experiments.cli.console import say
    from experiments.cli.progress import Bars

    if name is None:
        found = doctor.weights()
        return print(doctor.as_json(found)) if form == "json" else doctor.show(found)
    names = weights.names_of(name)
    if sha256 and len(names) > 1:
        raise SpecError(f"--sha256: {name} is several files; fetch one of them: {', '.join(names)}")
    with Bars(apart=form == "json") as bars:
        paths = {one: weights.fetch(one, bars.show, sha256) for one in names}
    if form == "json":
        files = [weights.about(one, path, sha256) for one, path in paths.items()]
        return print(json.dumps(files if len(names) > 1 else files[0], indent=1))
    for one, path in paths.items():
        say(weights.checked(one, path, sha256))
