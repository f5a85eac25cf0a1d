"""Every command of docs/autoencoders.md runs, at toy size; latent diffusion of real clips goes from files to scores."""

import csv
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from registry.runs.machine import ROOT
from tests.cli.command import run

PAGE = (ROOT / "docs" / "autoencoders.md").read_text(encoding="utf-8")
TINY = [
    *("learning.steps=3", "learning.batch_size=2", "sampling.clips=4", "sampling.sampler.steps=2", "floors=[]"),
    *("scoring.real_clips=4", "model.width=16", "model.heads=2", "model.depth=2", "data.resolution=16"),
    *("runtime.device=cpu", "runtime.threads=1"),
    *("scoring.detector=moving_shapes_r3d", "scoring.second_opinions=[]", "claim=[]"),  # nothing is downloaded here
]


def commands() -> list[list[str]]:
    """The command lines of the page, without `python run.py`."""
    found = re.findall(r"^```sh\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)
    lines = [shlex.split(line) for block in found for line in block.splitlines()]
    assert all(line[:2] == ["python", "run.py"] for line in lines)
    return [line[2:] for line in lines]


@pytest.fixture
def videos(shared_data: Path, tmp_path: Path) -> Path:
    """One train and one test video of each class, in the layout of the whole set."""
    source, target = shared_data / "weizmann", tmp_path / "weizmann"
    rows = list(csv.DictReader((source / "split.csv").read_text().splitlines()))
    taken = []
    for label in sorted({row["label"] for row in rows}):
        for split, count in (("train", 1), ("test", 1)):
            taken += [row for row in rows if (row["label"], row["split"]) == (label, split)][:count]
    for row in taken:
        (target / row["path"]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / row["path"], target / row["path"])
    with (target / "split.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(taken)
    return target


def test_the_commands_run_and_latents_are_standardised(tmp_path: Path, videos: Path, taef2_weights: Path) -> None:
    cache = tmp_path / "latte-workbench"
    cache.mkdir()
    for half in ("encoder", "decoder"):  # fetched before: nothing is downloaded here
        shutil.copy(taef2_weights / f"taef2_{half}.pth", cache)
    parts, fetch, check, launch = commands()
    for line in (parts, fetch):
        told = run(*line, XDG_CACHE_HOME=str(tmp_path))
        assert told.code == 0, told.err
        assert "taef2" in told.out
    runs = ("--runs", tmp_path / "runs")
    check, launch = (
        [f"data.path={videos}" if word.startswith("data.path=") else word for word in line] for line in (check, launch)
    )
    told = run(*check, *runs, XDG_CACHE_HOME=str(tmp_path))
    assert told.code == 0, told.err
    told = run(*launch, *TINY, "--executor", "debug", *runs, XDG_CACHE_HOME=str(tmp_path))
    assert told.code == 0, told.err
    assert "baseline seed 0: done" in told.out + told.err
    (noted,) = (tmp_path / "runs" / "_trainings").glob("*/seed-0/prepared.json")
    statistics = json.loads(noted.read_text())["latents"]
    assert len(statistics["mean"]) == len(statistics["spread"]) == 32
    assert min(statistics["spread"]) > 0.1
