"""Verb about clips without an experiment: sample."""

import json
import re
from pathlib import Path
from typing import Any

import click

from experiments.cli.options import FOLDER, PLUGINS, RUNS, completed, verb


class Grid(click.ParamType):
    """Rows and columns, such as 4x4."""

    name = "ROWSxCOLUMNS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        found = re.fullmatch(r"([1-9]\d?)x([1-9]\d?)", str(value))
        if not found:
            self.fail(f"{value!r} is not rows and columns, such as 4x4, of 99 at most.", param, ctx)
        return int(found[1]), int(found[2])


@click.command()
@click.argument("source", type=FOLDER, metavar="RUN|CHECKPOINT")
@click.option("--num", type=click.IntRange(1, 10**6), default=16, show_default=True, help="Clips.")
@click.option("--classes", help="Comma-separated, by name or number, in turns; left out: all of them.")
@click.option(
    "--captions",
    multiple=True,
    metavar="TEXT|FILE",
    help="What is to be seen, for a network that reads captions; a .txt has one a line; again for more, in turns; left "
    "out: those of the data set.",
)
@click.option("--guidance", type=float, help="Scale of classifier-free guidance; left out: the run's, else 1 (off).")
@click.option("--sampler", help="`parts --slot sampler` lists them; left out: the run's, else that of the objective.")
@click.option("--steps", help="Of the sampler: a count, or a respacing such as ddim25; left out: the sampler's own.")
@click.option("--seed", type=click.IntRange(0), help="Of the noise; left out: the run's, so its scored clips, else 0.")
@click.option("--weights", type=click.Choice(["ema", "raw"]), help="Averaged, or of the last step (model in a spec).")
@click.option("--step", type=click.IntRange(0), help="Of the training; left out: the run's, else the newest.")
@click.option(
    "--frames",
    type=click.IntRange(1),
    help="Of a clip, where the network can draw another number than it was trained with.",
)
@click.option("--resolution", type=click.IntRange(1), help="Side of a frame in pixels.")
@click.option("--precision", type=click.Choice(["fp32", "bf16", "fp16"]), help="Of the network; left out: the run's.")
@click.option("--batch", type=click.IntRange(1), help="Clips that are drawn at once; left out: the run's, else 16.")
@click.option(
    "--processes", type=click.IntRange(1, 256), default=1, show_default=True, help="That draw at once, on CPUs."
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Left out: the run's, else auto.")
@click.option("--grid", type=Grid(), help="Also the first clips as one picture and one video, such as 4x4.")
@click.option("--heads", type=click.IntRange(1), help="Of each attention, where a file from outside does not say.")
@PLUGINS
@click.option("--out", type=FOLDER, help="Left out: a folder under the runs, one for each setting.")
@RUNS
@click.argument("overrides", nargs=-1, metavar="[KEY.PATH=VALUE]...", shell_complete=completed("overrides"))
@verb(on_experiment=False, formats=True)
def sample(source: Path, form: str, **options: Any) -> None:
    """Draw clips: videos, a contact sheet, a GIF, and samples.json; the same command again goes on.

    KEY.PATH=VALUE changes the rest of how clips are drawn: `sampling.sampler.eta=1 runtime.threads=4`.
    """
    from experiments.cli.console import complain, say
    from experiments.cli.progress import Bars
    from experiments.sampling.folders import Place, sample_into_folder
    from experiments.sampling.requests import Ask, wanted_of

    where = {name: options.pop(name) for name in ("out", "runs", "processes", "grid", "device")}
    with Bars(apart=form == "json") as bars:
        found = wanted_of(source, Ask(**options), bars.show)
        where["device"] = where["device"] or found.spec.runtime.device
        complain(f"NOTE: {note}" for note in found.notes)
        folder, samples = sample_into_folder(found, Place(**where), bars.show)
    if samples is None:
        return
    if form == "json":
        return print(json.dumps({"out": str(folder), **samples.model_dump(mode="json")}, indent=1))
    say(f"{len(samples.clips)} clips in {folder}: {', '.join(['videos', *samples.pictures, 'samples.json'])}")
