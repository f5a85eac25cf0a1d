"""The verbs about weights in files, as people call them."""

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from experiments.cli.app import app
from tests.cli.command import Told
from tests.components.model.checkpoints.test_refusals import HOSTILE
from tests.fixtures.checkpoint_files import file_of_ours, latte_entries, save, wrapped
from tests.fixtures.toy_replicates import assert_same


def run(*words: object) -> Told:
    """The command line in this process: the start of another takes longer than what these verbs do."""
    done = CliRunner().invoke(app, list(map(str, words)), env={"COLUMNS": "160"})
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return Told(done.exit_code, done.stdout, done.stderr)


@pytest.fixture
def official(tmp_path: Path) -> Path:
    return save(tmp_path / "0000020.pt", {"model": latte_entries(1), "ema": latte_entries(0)})


def test_show_says_what_a_file_is_and_what_can_be_done(official: Path) -> None:
    shown = run("checkpoint", "show", official, "--heads", 2)
    assert shown.code == 0, shown.err
    lines = [" ".join(line.replace("│", " ").split()) for line in shown.out.splitlines()]
    for line in ("layout latte", "form plain", "weights model, ema", "opens ema", "classes 3", "learned sigma yes"):
        assert line in lines, shown.out
    assert "layout latte: can hold it" in shown.out
    assert "layout dit: model.blocks: variant_1 has no place in the layout dit" in shown.out
    assert f"checkpoint export {official} --heads 2 --layout latte --out exported.pt" in shown.out
    told = run("checkpoint", "show", official, "--heads", 2, "--format", "json").json
    assert (told["layout"], told["grid"], told["heads"], told["size"]) == ("latte", [2, 2], 2, None)
    assert told["layouts"]["ours"] == []
    assert len(told["sha256"]) == 64


def test_export_writes_what_it_read(official: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.pt"
    written = run("checkpoint", "export", official, "--heads", 2, "--layout", "latte", "--out", out, "--format", "json")
    assert written.code == 0, written.err
    assert written.json["bytes"] == out.stat().st_size
    assert_same(torch.load(out, weights_only=True), torch.load(official, weights_only=True))
    again = run("checkpoint", "export", official, "--heads", 2, "--layout", "latte", "--out", out)
    assert (again.code, "is there already" in again.err) == (2, True)


@pytest.mark.parametrize("null_label", [True, False])
def test_what_an_exported_file_does_not_say_is_told_with_the_options_that_say_it(
    tmp_path: Path, null_label: bool
) -> None:
    ours, out = file_of_ours(tmp_path / "ours.safetensors", null_label=null_label), tmp_path / "out.pt"
    network = run("checkpoint", "show", ours, "--format", "json").json
    written = run("checkpoint", "export", ours, "--layout", "latte", "--out", out, "--format", "json")
    assert written.code == 0, written.err
    read = run("checkpoint", "show", out, *written.json["read_with"], "--format", "json")
    assert read.code == 0, read.err
    assert [read.json[key] for key in ("heads", "classes", "null_label")] == [
        network[key] for key in ("heads", "classes", "null_label")
    ]
    assert written.json["read_with"][:2] == ["--heads", str(network["heads"])]
    assert ("--classes" in written.json["read_with"]) is not null_label
    said = run("checkpoint", "export", ours, "--layout", "latte", "--out", tmp_path / "second.pt")
    assert f"read it with --heads {network['heads']}" in said.out
    assert run("checkpoint", "export", ours, "--layout", "ours", "--out", tmp_path / "own.safetensors",
               "--format", "json").json["read_with"] == []  # fmt: skip


def test_import_says_where_it_is_and_how_an_experiment_names_it(official: Path, tmp_path: Path) -> None:
    words = ("checkpoint", "import", official, "--heads", 2, "--runs", tmp_path / "runs")
    made = run(*words)
    assert made.code == 0, made.err
    assert "imported, SHA-256" in made.out
    assert "name: checkpoint" in made.out
    assert "steps: 0" in made.out
    told = run(*words, "--format", "json").json
    assert told["there"]
    assert told["base"]["learning"]["initialisation"]["sha256"] == told["digest"]
    assert f"sample {told['training']}" in made.out.replace("\n", "")
    assert run("checkpoint", "show", told["training"], "--format", "json").json["form"] == "imported, plain"


@pytest.mark.parametrize("wrapping", ["plain", "joint", "compiled"])
def test_a_file_is_shown_imported_sampled_and_exported_as_it_was(tmp_path: Path, wrapping: str) -> None:
    ema, model = latte_entries(0, channels=12), latte_entries(1, channels=12)
    file = save(tmp_path / "file.pt", wrapped(ema, model, wrapping))
    runs = ("--runs", tmp_path / "runs")
    assert run("checkpoint", "show", file, "--heads", 2, "--format", "json").json["channels"] == 12
    pixels = "data.autoencoder=pixels(factor=2)"  # needs no weights of its own
    made = run("checkpoint", "import", file, pixels, "--heads", 2, "--format", "json", *runs)
    assert made.code == 0, made.err
    training = made.json["training"]
    words = ("--num", 2, "--sampler", "ddim", "--steps", 2, "--device", "cpu", "--out", tmp_path / "drawn")
    drawn = run("sample", training, *words, *runs)
    assert drawn.code == 0, drawn.err
    assert len(list((tmp_path / "drawn" / "videos").glob("*.mp4"))) == 2
    out = tmp_path / "out.pt"
    assert run("checkpoint", "export", training, "--layout", "latte", "--out", out).code == 0
    official = "plain" if wrapping == "compiled" else wrapping
    assert_same(torch.load(out, weights_only=True), wrapped(ema, model, official))


def test_what_is_asked_wrongly_is_told_in_a_line(official: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.pt"
    ours = file_of_ours(tmp_path / "ours.safetensors", blocks={"name": "variant_3"})
    for words, code, told in (
        (("show", official), 2, "--heads: the file does not say how many heads the width 16 has"),
        (("show", tmp_path / "absent.pt"), 2, "there is no file"),
        (("export", official, "--heads", 2, "--layout", "lattte", "--out", out), 2, "did you mean 'latte'?"),
        (("export", ours, "--layout", "latte", "--out", out), 2, "model.blocks: variant_3 has no place"),
    ):
        refused = run("checkpoint", *words)
        assert (refused.code, len(refused.err.splitlines())) == (code, 1), refused
        assert told in refused.err
    assert not out.exists()


@pytest.mark.parametrize("name", ["code", "bomb", "lists"])
def test_a_hostile_file_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    make, _ = HOSTILE[name]
    (tmp_path / "file.pt").write_bytes(make(tmp_path / "mark"))
    refused = run("checkpoint", "show", tmp_path / "file.pt")
    assert (refused.code, len(refused.err.splitlines())) == (1, 1), refused
    assert not (tmp_path / "mark").exists()
