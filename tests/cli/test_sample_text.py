"""The verb sample-text, as it is typed, and as docs/text.md shows it."""

import json
import shlex
from pathlib import Path

import av
import pytest

from tests.cli.command import ROOT, run
from tests.fixtures.text_pipelines import write_pipeline

PAGE = (ROOT / "docs" / "text.md").read_text(encoding="utf-8")
PUBLISHED = "maxin-cn/Latte-1"
TYPED = [line.split(" run.py ")[1] for line in PAGE.splitlines() if line.startswith("python run.py ")]
COMMANDS = [line for line in TYPED if line.startswith("sample-text ")]
OF_WEIGHTS = [line for line in TYPED if line.startswith(("checkpoint show", "checkpoint export"))]
OF_PUBLISHED = [line for line in TYPED if line.startswith(("sample Latte-1", "checkpoint import"))]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pipeline(tmp_path_factory.mktemp("models") / "tiny", temporal=True)


def test_a_prompt_becomes_an_mp4(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "videos"
    asked = ("sample-text", "a person waving", "--model", str(model), "--steps", "2", "--out", str(out))
    told = run(*asked)
    assert told.code == 0, told.err
    assert told.err == ""
    assert str(out / "000000.mp4") in told.out
    with av.open(str(out / "000000.mp4")) as video:
        assert [(frame.width, frame.height) for frame in video.decode(video=0)] == [(16, 16)] * 4
    record = json.loads((out / "text_samples.json").read_text())
    assert record["asked"]["prompt"] == "a person waving"
    assert run(*asked, "--format", "json").json == record  # nothing is drawn twice


def test_the_page_shows_commands() -> None:
    assert len(COMMANDS) >= 5
    assert len(OF_WEIGHTS) == 3


def test_the_weights_of_a_pipeline_are_shown_and_written(model: Path, tmp_path: Path) -> None:
    places = {
        "Latte-1": model,
        "transformer": tmp_path / "transformer",
        "latte-t2v.safetensors": tmp_path / "ours.safetensors",
    }
    for command in OF_WEIGHTS:
        told = run(*(places.get(word, word) for word in shlex.split(command)))
        assert told.code == 0, told.err
        assert f"layout {'ours' if 'ours' in command else 'diffusers'}" in told.out
    weights = "diffusion_pytorch_model.safetensors"
    assert (tmp_path / "transformer" / weights).read_bytes() == (model / "transformer" / weights).read_bytes()
    shown = run("checkpoint", "show", tmp_path / "ours.safetensors", "--format", "json").json
    assert (shown["layout"], shown["frames"], shown["depth"], shown["learned_sigma"]) == ("ours", 4, 4, True)
    assert shown["layouts"]["diffusers"] == []


@pytest.mark.parametrize("verb", ["sample", "checkpoint import"])
def test_a_network_that_reads_captions_is_not_drawn_without_them(verb: str, model: Path, tmp_path: Path) -> None:
    where = ("--out", tmp_path / "out") if verb == "sample" else ("--runs", tmp_path / "runs")
    told = run(*verb.split(), model, *where, "data.autoencoder=sd_vae")
    assert told.code == 2
    assert "data.text_encoder: text_cross_attention reads captions: name what encodes them" in told.err
    assert not list(tmp_path.rglob("*.mp4"))


def test_published_weights_are_drawn_from_and_imported(model: Path, tmp_path: Path) -> None:
    from diffusers import AutoencoderKL

    levels = {"block_out_channels": (32,) * 4, "latent_channels": 4}
    kinds = {
        f"{way}_block_types": [f"{way.title()}{what}Block2D"] * 4
        for way, what in (("down", "Encoder"), ("up", "Decoder"))
    }
    AutoencoderKL(**kinds, **levels).eval().save_pretrained(tmp_path / "vae")
    drawing, importing = OF_PUBLISHED
    for command in (drawing, importing):
        words = [word.replace("Latte-1/vae", str(tmp_path / "vae")) for word in shlex.split(command)]
        words = [word.replace("Latte-1", str(model)) for word in words]
        where = (
            ["--out", str(tmp_path / "out"), "--num", "1"] if command is drawing else ["--runs", str(tmp_path / "runs")]
        )
        told = run(*["2" if word == "50" else word for word in words], *where)
        assert told.code == 0, told.err
    (clip,) = json.loads((tmp_path / "out" / "samples.json").read_text())["clips"]
    assert clip["caption"] == "a person waving"


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_of_the_page(command: str, model: Path, tmp_path: Path) -> None:
    words = shlex.split(command)
    words[words.index(PUBLISHED)] = str(model)
    if "--resolution" in words:  # the tiny model's own world: 16 pixels, a few steps
        words[words.index("--resolution") + 1] = "24"
    given = words.index("--out") + 1 if "--out" in words else None
    out = tmp_path / (words[given] if given else "text-samples")
    if given:
        words[given] = str(out)
    else:
        words += ["--out", str(out)]
    if "--steps" in words:
        words[words.index("--steps") + 1] = "2"
    else:
        words += ["--steps", "2"]
    told = run(*words)
    assert told.code == 0, told.err
    record = json.loads((out / "text_samples.json").read_text())
    assert len(record["samples"]) == (4 if "--num" in words else 1)
    assert all((out / sample["file"]).stat().st_size > 0 for sample in record["samples"])


def test_what_is_wrong_is_told_in_a_line(tmp_path: Path) -> None:
    told = run("sample-text", "a person waving", "--model", str(tmp_path))
    assert (told.code, told.out) == (2, "")
    assert told.err == f"--model: {tmp_path}: has no model_index.json, so it is no pipeline of diffusers\n"
    told = run("sample-text", "a person waving", "--model", str(tmp_path), "--scheduler", "euler")
    assert told.code == 2
    assert told.err.startswith("--scheduler: euler does not suit")
