"""The verb that draws videos from a text by a published model."""

import json
from pathlib import Path
from typing import Any

import click

from experiments.cli.options import FOLDER, Finite, verb


@click.command("sample-text")
@click.argument("prompt")
@click.option(
    "--model", required=True, metavar="DIR|HUB", help="A folder of diffusers' LattePipeline, or a name on the Hub."
)
@click.option("--image", is_flag=True, help="A picture: one frame, without temporal attention.")
@click.option("--frames", type=click.IntRange(1), help="Frames of a video; left out: those of the model.")
@click.option("--resolution", type=click.IntRange(1), help="Side in pixels; left out: that of the model.")
@click.option("--steps", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--guidance", type=Finite(1), default=7.5, show_default=True, help="1 is off.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the first; the next count up.")
@click.option("--num", type=click.IntRange(1), default=1, show_default=True, help="How many.")
@click.option(
    "--scheduler", metavar="SAMPLER", help="A sampler by name (`parts --slot sampler`); else the model's own."
)
@click.option("--negative", default="", help="What guidance leads away from.")
@click.option("--precision", type=click.Choice(["fp32", "bf16", "fp16"]), default="fp32", show_default=True)
@click.option("--bits", type=click.Choice(["8", "4"]), help="Quantise the weights by bitsandbytes.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--out", type=FOLDER, default=Path("text-samples"), show_default=True, help="Folder that is written.")
@verb(on_experiment=False, formats=True)
def sample_text(form: str, out: Path, bits: str | None, **options: Any) -> None:
    """Draw videos of PROMPT by a text-to-video model: mp4 files, and text_samples.json of what and how.

    The same command goes on where it was interrupted; with a higher --num it draws the further ones.
    """
    from experiments.cli.console import say
    from experiments.cli.progress import Bars
    from experiments.sampling.text_samples import RECORD, TextRequest, sample_text
    from experiments.training.devices import device_named

    request = TextRequest(bits=int(bits) if bits else None, **options)
    with Bars(apart=form == "json") as bars:
        record = sample_text(request, out, device_named(request.device), bars.show)
    if form == "json":
        return print(json.dumps(record, indent=1))
    for sample in record["samples"]:
        say(f"{out / sample['file']} (seed {sample['seed']})")
    say(f"{out / RECORD}: what was asked for, and how it was made")
