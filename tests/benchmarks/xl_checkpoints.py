"""Official files of XL/2 shape with random weights: shown, imported, sampled for 2 steps, and exported back.

    python -m tests.benchmarks.xl_checkpoints [--layouts plain joint compiled dit] [--stages show import sample export]

prints the seconds and the peak resident memory of each stage, which is a process of its own, and ends with 1 where a
stage takes more than 24 GB, or an exported file has other names or numbers than the one that was imported. Sampling
needs the import, and draws the latents of one clip; a file is 2.7 GB, or 5.4 GB with both kinds of weights.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor

from components.assembly import Assembly
from components.model.building import build_network
from components.model.checkpoints import export, inspect, open_network, to_official
from experiments.launch.importing import import_checkpoint
from registry.parts.catalogue import catalogue
from registry.runs.machine import ROOT
from registry.runs.stored import read_spec
from registry.schema.section import Part
from registry.schema.spec import ModelSpec
from tests.benchmarks.measuring import most_resident

MOST = 24e9  # bytes of a stage
LAYOUTS, STAGES = ("plain", "joint", "compiled", "dit"), ("show", "import", "sample", "export")
XL = {"width": 1152, "heads": 16, "depth": 28, "patch": 2}
IMAGES = {"blocks": Part(name="full_attention"), "temporal_position": Part(name="none"), "classes": 1000}


def entries(layout: str, seed: int) -> dict[str, Tensor]:
    """Random weights under official names: UCF-101's network of 16 frames, or ImageNet's."""
    model = ModelSpec.model_validate({**XL, "classes": 101, **(IMAGES if layout == "dit" else {})})
    with torch.device("meta"):
        network = build_network(model, (1 if layout == "dit" else 16, 4, 32, 32), 8, True, catalogue())
    generator = torch.Generator().manual_seed(seed)
    shapes = to_official(network.state_dict())
    return {name: 0.02 * torch.randn(value.shape, generator=generator) for name, value in shapes.items()}


def make(layout: str, path: Path) -> None:
    """Write an official file."""
    ema = entries(layout, 0)
    if layout == "compiled":
        ema = {f"_orig_mod.{name}": value for name, value in ema.items()}
    both = {"model": entries(layout, 1), "ema": ema} if layout == "plain" else {"ema": ema}
    torch.save(ema if layout == "dit" else both, path)


def stage(name: str, layout: str, folder: Path) -> None:
    """Do one stage of one layout; what it makes lies in the folder for the next one."""
    file, out, kept = (folder / f"{layout}{end}" for end in (".pt", "-out.pt", ".training"))
    if name == "make":
        return make(layout, file)
    if name == "show":
        rows = inspect(file).with_digest().description.rows()
        return print(json.dumps({key: rows[key] for key in ("layout", "form", "size", "parameters", "sha256")}))
    if name == "import":
        made = import_checkpoint(inspect(file).with_digest(), folder / "runs")
        kept.write_text(str(made.training))
        return None
    source = Path(kept.read_text()) if kept.exists() else file
    if name == "sample":
        return draw(source)
    return export(inspect(source).verified(), "dit" if layout == "dit" else "latte", out)


def draw(training: Path) -> None:
    """Draw the latents of one clip in 2 steps."""
    network, description = open_network(training)
    spec = read_spec(training)
    choice = spec.sampling.sampler.model_copy(update={"steps": 2}) if spec.sampling.sampler else None
    spec = spec.model_copy(update={"sampling": spec.sampling.model_copy(update={"sampler": choice})})
    assembly = Assembly(spec)
    noise = torch.randn(1, *description.latents, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(1, dtype=torch.int64) if description.classes else None
    with torch.inference_mode():
        latents = assembly.sampler(assembly.objective()).sample(
            lambda x, t: network(x, t, labels=labels), noise, lambda: torch.randn(noise.shape)
        )
    print(f"latents {tuple(latents.shape)}, finite: {bool(latents.isfinite().all())}")


def measured(name: str, layout: str, folder: Path) -> tuple[float, int]:
    """Seconds and peak bytes of a stage in a process of its own."""
    words = [sys.executable, "-m", "tests.benchmarks.xl_checkpoints", "--one", name, layout, str(folder)]
    begun = time.monotonic()
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    told = done.stdout.strip().splitlines()
    for line in told[:-1]:
        print(f"  {line}")
    return time.monotonic() - begun, int(told[-1])


def same(layout: str, folder: Path) -> bool:
    """Whether the exported file has the names and numbers of the one that was imported, but for a compiled prefix."""
    ours, theirs = (
        torch.load(folder / name, weights_only=True, mmap=True) for name in (f"{layout}-out.pt", f"{layout}.pt")
    )
    if layout != "dit" and list(ours) != list(theirs):
        return False
    kinds = [(ours, theirs)] if layout == "dit" else [(ours[kind], theirs[kind]) for kind in theirs]
    plain = [(a, {name.removeprefix("_orig_mod."): value for name, value in b.items()}) for a, b in kinds]
    return all(list(a) == list(b) and all(torch.equal(value, b[name]) for name, value in a.items()) for a, b in plain)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layouts", nargs="+", choices=LAYOUTS, default=LAYOUTS)
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES)
    parser.add_argument("--one", nargs=3, metavar=("STAGE", "LAYOUT", "FOLDER"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        stage(chosen.one[0], chosen.one[1], Path(chosen.one[2]))
        return print(most_resident())
    good = True
    for layout in chosen.layouts:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            measured("make", layout, folder)
            for name in chosen.stages:
                seconds, peak = measured(name, layout, folder)
                good &= peak <= MOST
                print(f"{layout}: {name}: {seconds:.0f} s, at most {peak / 1e9:.2f} GB", flush=True)
            if "export" in chosen.stages:
                equal = same(layout, folder)
                good &= equal
                print(f"{layout}: {'comes back bit for bit' if equal else 'COMES BACK CHANGED'}", flush=True)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
