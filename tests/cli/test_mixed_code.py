"""Code that is edited between two launches: what it made is told from what came before, and can be made anew."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from registry.runs.machine import ROOT
from registry.runs.replicate import open_replicate
from tests.cli.command import Told, run
from tests.fixtures.toy_replicates import TOY, write

RAMP = '''\
import torch

from components.model.temporal_positions import TemporalPosition
from registry.parts.catalogue import part


@part("temporal_position", "ramp")
class Ramp(TemporalPosition):
    """A straight ramp over the frames.

    Source: none, an example
    Official code: no
    """

    def __init__(self, frames: int, width: int) -> None:
        super().__init__()
        self.register_buffer("ramp", torch.linspace(0, 1, frames)[:, None, None], persistent=False)

    def add(self, tokens):
        return tokens + self.ramp
'''
SLOW = '''\
from components.diffusion.samplers import DDIM
from registry.parts.catalogue import part


@part("sampler", "slow")
class Slow(DDIM):
    """DDIM under another name.

    Source: none, an example
    Official code: no
    """

    unused = 1
'''
PART, SAMPLER = "model.temporal_position.ramp", "sampling.sampler.slow"
RAMPS = "model.temporal_position: [absolute, ramp]"
CLAIM = "claim: {axis: temporal_position, better: ramp, worse: absolute, metric: fvd}"
REASON = "the height of the ramp is scaled away"


def edit(file: Path, old: str, new: str) -> None:
    """Change a file as an editor does, some time later."""
    text, before = file.read_text(), file.stat().st_mtime_ns
    assert old in text
    file.write_text(text.replace(old, new))
    os.utime(file, ns=(before + 10**9, before + 10**9))


class Edited:
    """A toy experiment with plug-ins, which are edited between its launches."""

    def __init__(self, folder: Path, name: str = "toy_edited", script: Path = ROOT / "run.py") -> None:
        self.folder, self.runs, self.script = folder, folder / "runs", script
        self.ramp, self.slow = folder / f"{name}_ramp.py", folder / f"{name}_slow.py"
        self.ramp.write_text(RAMP)
        self.slow.write_text(SLOW)
        self.plugins = f"plugins: [{self.ramp.stem}, {self.slow.stem}]\n"
        self.file = self.experiment("toy", RAMPS, CLAIM)

    def experiment(self, name: str, ablate: str, claim: str = "") -> Path:
        """An experiment file that ablates one thing."""
        text = TOY.split("claim:")[0].replace("name: toy", f"name: {name}")
        text = text.replace("model.blocks: [variant_1, variant_4]", ablate) + f"floors: []\n{claim}\n{self.plugins}"
        write(self.folder, text).rename(self.folder / f"{name}.yaml")
        return self.folder / f"{name}.yaml"

    def verb(self, verb: str, *words: str, file: Path | None = None) -> Told:
        command = [verb, str(file or self.file), *words, "--runs", str(self.runs)]
        if self.script == ROOT / "run.py":
            return run(*command)
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "160", "PYTHONPATH": str(self.script.parent)}
        done = subprocess.run(
            [sys.executable, str(self.script), *command],
            cwd=self.script.parent, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return Told(done.returncode, done.stdout, done.stderr)

    def launch(self, *words: str, file: Path | None = None, executor: str = "debug") -> str:
        told = self.verb("launch", *words, "--executor", executor, file=file)
        assert told.code == 0, told
        return told.out

    def results(self, experiment: str = "toy") -> dict[str, dict[str, Any]]:
        """Link of each replicate, below the experiment's folder -> its result."""
        top = self.runs / experiment
        return {
            str(path.parent.relative_to(top)): json.loads(path.read_text())
            for path in sorted(top.glob("*/seed-*/result.json"))
        }


@pytest.mark.slow
def test_a_plugin_that_is_edited_between_two_launches(tmp_path: Path) -> None:
    toy = Edited(tmp_path)
    toy.launch()
    for verb in ("status", "table", "verdict", "launch"):
        told = toy.verb(verb)
        assert told.code == 0, told
        assert "code" not in told.out, told.out
    assert toy.verb("status", "--format", "json").json["mixed_code"] == []

    edit(toy.ramp, "tokens + self.ramp", "tokens + 100 * self.ramp")
    more = "seeds=[0,1,2]"
    other = f"by other code than the present: {PART}: temporal_position=ramp seeds 0, 1; `launch --again` makes"
    assert other in toy.verb("plan").out
    arms = toy.verb("plan", "--format", "json").json["arms"]
    assert [arm["other_code"] for arm in arms] == [{}, {PART: [0, 1]}]
    assert "nothing to run" in toy.verb("launch", "--dry-run").out
    out = toy.launch(more)
    assert other in out
    mixed = f"made by different code: {PART}: temporal_position=ramp seeds 0, 1 / temporal_position=ramp seed 2"
    for verb in ("status", "table"):
        told = toy.verb(verb, more)
        assert (told.code, mixed in told.out) == (0, True), told
    (found,) = toy.verb("status", more, "--format", "json").json["mixed_code"]
    assert found["made"] == [{"temporal_position=ramp": [0, 1]}, {"temporal_position=ramp": [2]}]
    assert {name: len(set(digests)) for name, digests in found["digests"].items()} == {PART: 2}
    judged_and_refused(toy, more, mixed)
    tags = mlflow_tags(toy.runs)
    assert {tags[name]["mixed_code"] for name in tags if "=ramp" in name} == {mixed.partition("code: ")[2]}
    assert {tags[name]["mixed_code"] for name in tags if "baseline" in name} == {"no"}
    assert len({tags[name][f"code.{PART}"] for name in tags if "=ramp" in name}) == 2

    before = toy.results()
    would = toy.verb("launch", more, "--again", "--dry-run").out
    assert [f"would run temporal_position=ramp seed {seed}:" in would for seed in (0, 1, 2)] == [True, True, False]
    assert "baseline" not in would
    assert toy.results() == before
    out = toy.launch(more, "--again")
    assert f"made anew: {PART}: temporal_position=ramp seed 0; what was there is in" in out
    assert "refused" not in out
    after = toy.results()
    assert {name for name in before if before[name] != after[name]} == {
        name for name in before if "=ramp" in name and not name.endswith("seed-2")
    }
    kept = [json.loads(path.read_text()) for path in toy.runs.glob("_trainings/*-earlier-1/seed-*/**/result.json")]
    assert len(kept) == 2
    assert all(one in before.values() for one in kept), "nothing that was computed is lost"
    for verb in ("status", "verdict", "launch"):
        told = toy.verb(verb, more)
        assert told.code == 0, told
        assert "code" not in told.out, told.out
    assert {tags["mixed_code"] for tags in mlflow_tags(toy.runs).values()} == {"no"}
    assert "made all that is there" in toy.launch(more, "--again")
    assert toy.results() == after


def judged_and_refused(toy: Edited, more: str, mixed: str) -> None:
    """The verdict is refused; with a reason it is given, and the reason stands beside it."""
    told = toy.verb("verdict", more)
    assert told.code == 1, told
    assert "refused" in told.out
    assert mixed in " ".join(told.out.split())
    assert told.err.startswith("1 of 1 verdicts is refused, because different code made the arms: "), told.err
    (claim,) = json.loads(toy.verb("verdict", more, "--format", "json").out)["claims"]
    assert (claim["verdict"], claim["effect"], claim["p"]) == ("refused", None, None)
    assert claim["mixed_code"]["harmless"] is None
    for reason in ("", " "):
        assert toy.verb("verdict", more, "--mixed-code", reason).code == 2
    told = toy.verb("verdict", more, "--mixed-code", REASON)
    assert (told.code, told.err) == (0, ""), told
    assert mixed in " ".join(told.out.split())
    assert f"judged all the same, because: {REASON}" in told.out
    assert "refused" not in told.out
    assert toy.verb("report", more, "--mixed-code", REASON).code == 0
    written = [path for path in toy.runs.glob("toy/reports/*/verdict.json") if REASON in path.read_text()]
    (claim,) = json.loads(written[0].read_text())["claims"]
    assert claim["verdict"] != "refused"
    assert claim["mixed_code"]["harmless"] == REASON
    assert REASON in written[0].with_name("verdict.txt").read_text()


def mlflow_tags(runs: Path) -> dict[str, dict[str, str]]:
    """Name of each replicate's run -> its tags."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{runs / 'mlflow.db'}")
    found = client.search_runs([client.get_experiment_by_name("toy").experiment_id], "tags.kind = 'replicate'")
    return {run.info.run_name: run.data.tags for run in found}


@pytest.mark.slow
def test_edits_of_a_sampler_make_evaluations_anew_and_those_of_a_training_all_that_share_it(tmp_path: Path) -> None:
    toy = Edited(tmp_path, "toy_shared")
    first = toy.experiment("first", "sampling.sampler: [{name: ddim, steps: 2}, {name: slow, steps: 2}]")
    second = toy.experiment("second", "sampling.guidance: [1.0, 2.0]")
    common = ("seeds=[0]", "base.model.temporal_position=ramp")
    for file in (first, second):
        toy.launch(*common, file=file)
    (training,) = (toy.runs / "_trainings").glob("*/seed-0")
    attempts = sorted((training / "attempts").iterdir())
    before = toy.results("first") | toy.results("second")

    edit(toy.slow, "unused = 1", "unused = 2")
    out = toy.launch(*common, "--again", file=first)
    assert f"made anew: {SAMPLER}: sampler=slow(steps=2) seed 0" in out
    assert len(list((training / "attempts").iterdir())) == len(attempts) + 1
    assert [path.name for path in (toy.runs / "_trainings").glob("*/seed-0/code.jsonl")] == ["code.jsonl"]
    assert len((training / "code.jsonl").read_text().splitlines()) == 1, "nothing was trained anew"
    assert len(list(training.glob("evaluations/*-earlier-1/result.json"))) == 1
    now = toy.results("first") | toy.results("second")
    assert [name for name in now if now[name] != before[name]] == [name for name in now if "slow" in name]

    edit(toy.ramp, "tokens + self.ramp", "tokens + 100 * self.ramp")
    toy.launch(*common, "--again", file=first)
    anew = toy.results("first") | toy.results("second")  # the other experiment's replicates as well
    assert anew.keys() == before.keys()
    assert all(anew[name]["made_by"] != now[name]["made_by"] for name in anew)
    assert "code" not in toy.verb("plan", *common, file=second).out
    kept = list(toy.runs.glob("_trainings/*-earlier-1/seed-0/evaluations/*/result.json"))
    assert len(kept) == 4
    assert all(open_replicate(path.parent).result() is not None for path in kept)
    assert "-earlier-1" in run("list", "--runs", toy.runs).out
    assert run("prune", "--yes", "--runs", toy.runs).code == 0
    assert not list(toy.runs.glob("_trainings/*-earlier-1"))
    assert toy.results("first") | toy.results("second") == anew


@pytest.mark.slow
def test_the_loop_counts_and_frozen_copies_are_named_and_kept(tmp_path: Path) -> None:
    house = tmp_path / "house"
    for room in ("registry", "components", "experiments", "analysis"):
        shutil.copytree(ROOT / room, house / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / "run.py", house / "run.py")
    toy = Edited(tmp_path, "toy_loop", house / "run.py")
    toy.launch("seeds=[0]", executor="local")
    (line,) = next(toy.runs.glob("_trainings/*/seed-0/code.jsonl")).read_text().splitlines()
    frozen = json.loads(line)["frozen"]
    assert set(frozen) == {"workbench", toy.ramp.stem, toy.slow.stem}
    assert (toy.runs / "_code" / frozen[toy.ramp.stem]).read_text() == RAMP
    assert (toy.runs / "_code" / frozen["workbench"] / "registry" / "errors.py").is_file()
    (result, _) = toy.results().values()
    assert result["code"]["snapshot"] == frozen["workbench"]
    assert result["code"]["plugins"] == frozen[toy.ramp.stem].split("/")[0]
    pruned = subprocess.run(
        [sys.executable, str(house / "run.py"), "prune", "--dry-run", "--runs", str(toy.runs)],
        cwd=house, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "everything here is referred to" in pruned.stdout

    edit(house / "experiments" / "training" / "validation.py", "VALIDATION_CLIPS = 16", "VALIDATION_CLIPS = 8 + 8")
    told = toy.launch("seeds=[0,1]", executor="local")
    both = "baseline seed 0, temporal_position=ramp seed 0"
    assert f"by other code than the present: training loop: {both}; `launch" in told
    table = toy.verb("table", "seeds=[0,1]").out
    assert f"training loop: {both} / {both.replace('seed 0', 'seed 1')}" in " ".join(table.split())
    assert toy.verb("verdict", "seeds=[0,1]").code == 1
    only = toy.verb("verdict", "seeds=[1]")
    assert (only.code, "refused" in only.out) == (0, False)


@pytest.mark.parametrize("verb", ["verdict", "report", "launch"])
def test_the_help_names_the_way_out(verb: str) -> None:
    told = run(verb, "--help")
    assert ("--again" if verb == "launch" else "--mixed-code REASON") in told.out
