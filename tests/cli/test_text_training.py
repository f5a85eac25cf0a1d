"""Training on captions and drawing of them, as it is typed."""

import importlib.util
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from components.data.text_encoders.minilm import PACKAGE
from registry.runs.machine import ROOT
from tests.cli.command import Told, run
from tests.fixtures.text_trainings import write_text

WANTED = ("a red circle moves left", "a blue square moves up", "a green square moves down")

PAGE = (ROOT / "docs" / "text.md").read_text(encoding="utf-8")
TINY = (
    *("learning.steps=3", "learning.batch_size=4", "sampling.clips=4", "sampling.sampler.steps=2", "floors=[]"),
    *("data.dataset.colours=2", "data.dataset.directions=2", "data.dataset.videos=32", "scoring.real_clips=8"),
    *("model.width=16", "model.heads=2", "model.depth=2", "runtime.device=cpu", "runtime.threads=1"),
)


class Trained:
    """A toy that was launched, and the folder of its run."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.file, self.runs = folder, write_text(folder), folder / "runs"
        self.told = run("launch", self.file, "--executor", "debug", "--runs", self.runs, "seeds=[0]")
        (self.run,) = self.runs.glob("toy/*/seed-0")

    def sampled(self, out: str, *words: object) -> Told:
        return run("sample", self.run, "--out", self.folder / out, "--runs", self.runs, *words)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    found = Trained(tmp_path_factory.mktemp("text"))
    assert found.told.code == 0, found.told.err
    return found


def clips(folder: Path) -> np.ndarray:
    return np.concatenate([np.load(path) for path in sorted(folder.glob("clips-*.npy"))])


def test_it_is_trained_scored_and_pictured(trained: Trained) -> None:
    result = json.loads((trained.run / "result.json").read_text())
    assert result["scores"]
    assert result["preview_problems"] == [] if "preview_problems" in result else True
    assert {"contact_sheet.png", "grid.mp4"} <= {path.name for path in (trained.run / "previews").iterdir()}
    about = json.loads((trained.run / "training" / "prepared.json").read_text())
    assert about["text_encoder"].startswith("toy")
    assert len(about["captions"]) == 64


def test_scored_clips_are_drawn_again_with_their_captions(trained: Trained) -> None:
    told = trained.sampled("again", "--num", 6)
    assert told.code == 0, told.err
    about = json.loads((trained.folder / "again" / "samples.json").read_text())
    captions = [clip["caption"] for clip in about["clips"]]
    assert len(captions) == 6
    assert all(" moves " in caption for caption in captions)
    assert json.loads((trained.run / "samples" / "captions.json").read_text()) == captions
    assert np.array_equal(clips(trained.folder / "again" / "arrays"), clips(trained.run / "samples"))
    assert not (trained.folder / "again" / "captions").exists()  # those of the data set are cached with it


def test_captions_that_are_written_are_drawn_in_turn(trained: Trained) -> None:
    file = trained.folder / "more.txt"
    file.write_text("\n".join(WANTED[1:]))
    words = ("--captions", WANTED[0], "--captions", file, "--guidance", "3")
    told = trained.sampled("written", "--num", 4, *words)
    assert told.code == 0, told.err
    about = json.loads((trained.folder / "written" / "samples.json").read_text())
    assert [clip["caption"] for clip in about["clips"]] == [*WANTED, WANTED[0]]
    assert all((trained.folder / "written" / clip["file"]).stat().st_size for clip in about["clips"])
    assert "contact_sheet.png" in about["pictures"]
    more = trained.sampled("written", "--num", 5, *words, "--format", "json")  # the same command goes on
    assert (more.code, more.json["clips"][:4]) == (0, about["clips"])
    other = trained.sampled("written", "--num", 4, "--captions", "a dog")
    assert other.code == 1
    assert "holds clips of other settings" in other.err


def test_what_cannot_be_is_told_in_a_line(trained: Trained, tmp_path: Path) -> None:
    told = trained.sampled("wrong", "--captions", tmp_path / "gone.txt", "--classes", "0")
    assert told.code == 2
    assert f"--captions: {tmp_path / 'gone.txt'}: No such file or directory" in told.err
    assert "--classes: this network was trained without classes" in told.err
    told = run("check", trained.file, "data.text_encoder=null")
    assert told.code == 2
    assert "data.text_encoder: text_cross_attention reads captions: name what encodes them" in told.err
    told = run("check", trained.file, "model.conditioning=s_adaln")
    assert told.code == 2
    assert "toy encodes captions, and model.conditioning s_adaln reads none" in told.err


def test_it_is_written_as_diffusers_has_it_bit_for_bit(trained: Trained, tmp_path: Path) -> None:
    exported = run("checkpoint", "export", trained.run, "--layout", "diffusers", "--out", tmp_path / "transformer")
    assert exported.code == 0, exported.err
    words = ("data.autoencoder={name: pixels, factor: 4}", "diffusion.objective=v_prediction", "data.resolution=16")
    encoder = "data.text_encoder={name: toy, width: 8, length: 9}"
    alone = run("checkpoint", "import", tmp_path / "transformer", "--runs", tmp_path / "runs", *words)
    assert alone.code == 2
    assert "data.text_encoder: text_cross_attention reads captions: name what encodes them" in alone.err
    made = run(
        *("checkpoint", "import", tmp_path / "transformer", "--runs", tmp_path / "runs"), *words, encoder,
        "--format", "json",
    )  # fmt: skip
    assert made.code == 0, made.err
    again = run("checkpoint", "export", made.json["training"], "--layout", "diffusers", "--out", tmp_path / "again")
    assert again.code == 0, again.err
    files = [tmp_path / name / "diffusion_pytorch_model.safetensors" for name in ("transformer", "again")]
    assert files[0].read_bytes() == files[1].read_bytes()
    drawn = ("--num", 1, "--steps", 2, "--out", tmp_path / "drawn", "--captions", WANTED[0])
    told = run("sample", made.json["training"], "--sampler", "ddim", *drawn)
    assert told.code == 0, told.err
    lacking = run("sample", made.json["training"], "--num", 1, "--out", tmp_path / "lacking")
    assert lacking.code == 2
    assert "has no data set whose captions could be taken: say what is to be drawn" in lacking.err


@pytest.mark.skipif(importlib.util.find_spec(PACKAGE) is None, reason="the extra minilm is not installed")
def test_the_page_is_typed_as_it_stands(tmp_path: Path) -> None:
    """At toy size: the experiment of docs/text.md is launched, and clips are drawn of its captions and of others."""
    (example,) = re.findall(r"^```yaml\n# captioned.yaml\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)
    (tmp_path / "captioned.yaml").write_text(example)
    (tmp_path / "captions.txt").write_text("a red circle moves left\na green square moves up\n")
    typed = [shlex.split(line)[2:] for line in PAGE.splitlines() if line.startswith("python run.py ")]
    (launch,) = [words for words in typed if words[:2] == ["launch", "captioned.yaml"]]
    told = run("launch", tmp_path / launch[1], "--executor", "debug", "--runs", tmp_path / "runs", *TINY, "seeds=[0]")
    assert told.code == 0, told.err
    drawn = []
    for words in (words for words in typed if words[:2] == ["sample", "runs/captioned/baseline-*/seed-0"]):
        (source,) = tmp_path.glob(words[1])
        given = [str(tmp_path / word) if word == "captions.txt" else word for word in words[2:]]
        told = run("sample", source, *given, "--runs", tmp_path / "runs", "--format", "json")
        assert told.code == 0, told.err
        drawn.append([clip["caption"] for clip in told.json["clips"]])
    assert drawn[0] == ["a red circle moves left", "a blue square moves up"] * 2
    assert drawn[1] == ["a red circle moves left", "a green square moves up"] * 2
    assert len(drawn[2]) == 8
    assert all(re.fullmatch(r"a (red|green) (square|circle) moves (up|left)", caption) for caption in drawn[2])
