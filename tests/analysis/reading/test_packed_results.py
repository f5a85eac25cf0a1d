"""Results as one archive: unpacked elsewhere, verbs read from it what they read from the runs themselves."""

import tarfile
from pathlib import Path

import pytest

from analysis.paper import programme_pages
from analysis.reading import packed_results
from experiments.plan.loading import load_plan
from tests.analysis.paper.test_scoreboard import worse
from tests.cli.command import run
from tests.fixtures.finished_runs import finish
from tests.fixtures.toy_replicates import TOY, write


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """An experiment file of two arms, whose runs beside it are finished, with a checkpoint and samples."""
    text = TOY.replace("seeds: [0, 1]", "seeds: [0, 1, 2]").split("claim:")[0]
    file = write(tmp_path, f"{text}claim: {{axis: blocks, better: variant_1, worse: variant_4, metric: fvd}}\n")
    plan = load_plan(file, (), tmp_path / "runs")
    finish(plan, worse, losses=3)
    for replicate in plan.replicates:
        for large in (replicate.training / "checkpoints" / "step-6.pt", replicate.folder / "samples" / "clips.npy"):
            large.parent.mkdir(parents=True, exist_ok=True)
            large.write_bytes(bytes(1000))
    return file


def unpacked(archive: Path, folder: Path) -> Path:
    """Unpack an archive in a folder; return the runs."""
    with tarfile.open(archive) as members:
        members.extractall(folder, filter="data")
    return folder / "runs"


def test_verbs_read_the_same_from_it(file: Path, tmp_path: Path) -> None:
    archive = packed_results.pack(tmp_path / "runs", ["toy"], tmp_path / "results.tar.xz")
    there = unpacked(archive, tmp_path / "elsewhere")
    for words in (["table", file], ["table", file, "--format", "json"], ["verdict", file], ["verdict", "--paper"]):
        told = [run(*words, "--runs", runs) for runs in (tmp_path / "runs", there)]
        assert [one.code for one in told] == [0, 0], told[1].err
        assert told[0].out.replace(str(tmp_path / "runs"), str(there)) == told[1].out
    assert not [path for path in there.rglob("*") if path.suffix in (".pt", ".npy")]


def test_the_same_results_are_the_same_bytes(file: Path, tmp_path: Path) -> None:
    first, again = (packed_results.pack(tmp_path / "runs", ["toy"], tmp_path / name).read_bytes() for name in "ab")
    assert first == again


def test_the_program_packs_what_a_pattern_names(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "results.tar.xz"
    packed_results.main([str(tmp_path / "runs"), "t*", "--out", str(out)])
    assert capsys.readouterr().out == f"{out}\n"
    with pytest.raises(SystemExit, match="no experiment 'small-\\*' was launched, but toy"):
        packed_results.main([str(tmp_path / "runs"), "small-*", "--out", str(out)])
    with pytest.raises(SystemExit, match="No such file"):
        packed_results.main([str(tmp_path / "runs"), "toy", "--out", str(tmp_path / "not" / "there.tar.xz")])


def test_pages_come_with_what_they_are_made_of(file: Path, tmp_path: Path) -> None:
    assert run("report", file, "--runs", tmp_path / "runs").code == 0
    programme_pages.write(tmp_path / "runs", "toy", tmp_path / "paper")
    there = unpacked(tmp_path / "paper" / "results.tar.xz", tmp_path / "elsewhere")
    board = run("verdict", "--paper", "--format", "md", "--runs", there)
    assert board.code == 0, board.err
    assert board.out.strip() in (tmp_path / "paper" / "index.md").read_text(encoding="utf-8")
