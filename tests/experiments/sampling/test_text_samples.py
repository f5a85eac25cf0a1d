"""Videos of a prompt by a tiny pipeline: what diffusers itself draws, gone on with, and what is refused by name."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from experiments.sampling import text_pipeline
from experiments.sampling.text_samples import RECORD, TextRequest, sample_text
from registry.errors import RunError, SpecError
from registry.parts.catalogue import catalogue
from registry.runs.files import locked
from tests.fixtures.text_pipelines import write_pipeline

CPU = torch.device("cpu")
PROMPT = "a person waving"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pipeline(tmp_path_factory.mktemp("models") / "tiny", temporal=True)


def draw(folder: Path, out: Path, **asked: Any) -> dict[str, Any]:
    told: list[tuple[str, int, int]] = []
    request = TextRequest(PROMPT, str(folder), **{"steps": 2} | asked)
    record = sample_text(request, out, CPU, lambda *progress: told.append(progress))
    assert record == json.loads((out / RECORD).read_text())
    return record | {"told": told}


def frames(file: Path) -> Any:
    return np.asarray(Image.open(file))


def test_a_picture_is_what_the_pipeline_draws(folder: Path, tmp_path: Path) -> None:
    from diffusers import LattePipeline

    record = draw(folder, tmp_path / "out", image=True, seed=7, guidance=4.0, negative="still")
    pipeline = LattePipeline.from_pretrained(folder)
    (expected,) = pipeline(
        PROMPT,
        negative_prompt="still",
        num_inference_steps=2,
        guidance_scale=4.0,
        video_length=1,
        height=16,
        width=16,
        generator=torch.Generator().manual_seed(7),
        enable_temporal_attentions=False,
        clean_caption=False,
        output_type="np",
    ).frames
    assert record["how"]["decoder"] == "frames"
    assert [sample["file"] for sample in record["samples"]] == ["000000.png"]
    drawn = frames(tmp_path / "out" / "000000.png")
    assert drawn.shape == (16, 16, 3)
    assert drawn.std() > 1
    np.testing.assert_array_equal(drawn, (expected[0] * 255).round().astype(np.uint8))


def played(file: Path) -> Any:
    with av.open(str(file)) as video:
        return np.stack([frame.to_ndarray(format="rgb24").astype(int) for frame in video.decode(video=0)])


def test_videos_are_the_same_whatever_their_number_and_go_on(folder: Path, tmp_path: Path) -> None:
    both = draw(folder, tmp_path / "both", num=2, seed=3)
    assert both["told"][-1] == ("sampling steps", 4, 4)
    assert both["how"]["decoder"] == "temporal"
    first = draw(folder, tmp_path / "apart", seed=3)
    again = draw(folder, tmp_path / "apart", num=2, seed=3)
    assert again["told"][-1] == ("sampling steps", 2, 2)  # the first was there
    assert [len(one["samples"]) for one in (first, again, both)] == [1, 2, 2]
    assert again["samples"][0] == first["samples"][0]
    assert [sample["seed"] for sample in again["samples"]] == [sample["seed"] for sample in both["samples"]] == [3, 4]
    assert draw(folder, tmp_path / "apart", num=2, seed=3)["told"] == []
    (tmp_path / "apart" / "000000.mp4").write_bytes(b"cut")
    assert draw(folder, tmp_path / "apart", num=2, seed=3)["told"][-1] == ("sampling steps", 2, 2)
    names = ("000000.mp4", "000001.mp4")
    for name in names:
        assert (tmp_path / "apart" / name).read_bytes() == (tmp_path / "both" / name).read_bytes()
    assert not np.array_equal(*(played(tmp_path / "both" / name) for name in names))
    assert played(tmp_path / "both" / "000001.mp4").shape == (4, 16, 16, 3)


@pytest.mark.parametrize(
    ("name", "scheduler"),
    [
        ("ddpm", "DDPMScheduler"),
        ("ddim", "DDIMScheduler"),
        ("dpm_solver_pp", "DPMSolverMultistepScheduler"),
        ("unipc", "UniPCMultistepScheduler"),
    ],
)
def test_samplers_of_ours_are_schedulers_of_diffusers(folder: Path, tmp_path: Path, name: str, scheduler: str) -> None:
    how = draw(folder, tmp_path / "out", image=True, scheduler=name)["how"]
    assert how["scheduler"]["class"] == scheduler
    settings = how["scheduler"]["settings"]
    assert (settings["beta_schedule"], settings["beta_end"]) == ("linear", 0.02)
    assert not settings.get("clip_sample")
    assert settings.get("variance_type") == ("learned_range" if name == "ddpm" else None)


def test_every_sampler_has_a_scheduler_or_is_refused_by_name() -> None:
    parts = catalogue()
    for name in parts.names("sampler"):
        if name == "euler":
            with pytest.raises(SpecError, match="--scheduler: euler does not suit a network that predicts noise"):
                text_pipeline.scheduler_class(name, parts)
        else:
            assert text_pipeline.scheduler_class(name, parts).endswith("Scheduler")
    with pytest.raises(SpecError, match="no sampler 'ddmi'; did you mean 'ddpm' or 'ddim'"):
        text_pipeline.scheduler_class("ddmi", parts)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision(folder: Path, tmp_path: Path, precision: str) -> None:
    draw(folder, tmp_path / "out", image=True, precision=precision)
    assert frames(tmp_path / "out" / "000000.png").std() > 1


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"frames": 3}, "--frames: this network's temporal positions are a table of 4 frames: 4, or 1"),
        ({"frames": 4, "image": True}, "--frames: a picture has one frame, not 4"),
        ({"resolution": 18}, "--resolution: a side must be a multiple of 4 pixels, such as 16"),
    ],
)
def test_what_the_network_cannot_is_refused_with_the_reason(
    folder: Path, tmp_path: Path, asked: dict[str, Any], told: str
) -> None:
    with pytest.raises(SpecError, match=told):
        draw(folder, tmp_path / "out", **asked)
    assert not (tmp_path / "out").exists()


def test_samples_of_another_request_are_not_mixed(folder: Path, tmp_path: Path) -> None:
    draw(folder, tmp_path / "out", image=True)
    with pytest.raises(SpecError, match=r"holds samples of another request \(seed: 0, now 1\)"):
        draw(folder, tmp_path / "out", image=True, seed=1)


def test_a_long_prompt_is_not_cut_in_silence(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"PROMPT: has \d+ tokens, of which the model would read 120"):
        sample_text(TextRequest("word " * 200, str(folder)), tmp_path / "out", CPU, lambda *_: None)


def test_what_a_negative_prompt_says_in_vain_is_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"--negative: has \d+ tokens, of which the model would read \d+, as many as"):
        draw(folder, tmp_path / "out", negative="one word and another one " * 8)
    for guidance in (1.0, 0.5):
        with pytest.raises(SpecError, match=f"--negative: has no effect with --guidance {guidance:g}; raise"):
            draw(folder, tmp_path / "out", negative="still", guidance=guidance)


def changed(folder: Path, other: Path, **index: Any) -> Path:
    """A copy of the folder's index alone, with some of it changed, beside the same components."""
    other.mkdir()
    for component in folder.iterdir():
        if component.is_dir():
            (other / component.name).symlink_to(component)
    content = json.loads((folder / "model_index.json").read_text()) | index
    (other / "model_index.json").write_text(json.dumps(content))
    return other


@pytest.mark.parametrize(
    ("index", "error", "told"),
    [
        ({"_class_name": "PixArtAlphaPipeline"}, SpecError, "is a PixArtAlphaPipeline, not a LattePipeline"),
        ({"text_encoder": ["evil_module", "T5EncoderModel"]}, RunError, "text_encoder is .*evil_module"),
        ({"vae": ["diffusers", "AutoencoderKLCogVideoX"]}, RunError, "vae is .*AutoencoderKLCogVideoX"),
        ({"scheduler": None}, RunError, "scheduler is None"),
    ],
)
def test_a_folder_of_other_classes_is_not_opened(
    folder: Path, tmp_path: Path, index: dict[str, Any], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        draw(changed(folder, tmp_path / "other", **index), tmp_path / "out")


def test_pickles_are_not_read(folder: Path, tmp_path: Path) -> None:
    other = changed(folder, tmp_path / "other")
    (other / "transformer").unlink()
    (other / "transformer").mkdir()
    (other / "transformer" / "config.json").write_bytes((folder / "transformer" / "config.json").read_bytes())
    torch.save({}, other / "transformer" / "diffusion_pytorch_model.bin")
    with pytest.raises(RunError, match="the pipeline cannot be opened"):
        draw(other, tmp_path / "out")


def test_missing_packages_are_named_before_anything_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    find = importlib.util.find_spec
    absent = {"bitsandbytes"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in absent else find(name))
    with pytest.raises(RunError, match="--bits 4 needs the package bitsandbytes, which is not here: pip install bits"):
        draw(tmp_path / "nowhere", tmp_path / "out", bits=4)
    absent.clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in absent else True)
    with pytest.raises(RunError, match="--bits 8 needs a GPU, and this runs on cpu; leave --bits out"):
        draw(tmp_path / "nowhere", tmp_path / "out", bits=8)
    absent.add("transformers")
    with pytest.raises(
        RunError, match=r"needs the package transformers, which is not here: pip install -e '\.\[text\]'"
    ):
        draw(tmp_path / "nowhere", tmp_path / "out")


def test_a_model_that_is_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants, errors

    def refuse(*_: Any, **__: Any) -> None:
        raise errors.LocalEntryNotFoundError("the Hub cannot be reached")

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    assert constants.HF_HUB_CACHE
    with pytest.raises(RunError) as told:
        draw(Path("maxin-cn/Latte-1"), tmp_path / "out")
    assert str(told.value) == (
        "--model: maxin-cn/Latte-1 is not in the cache of Hugging Face and cannot be fetched (the Hub cannot be "
        "reached); where there is a network: hf download maxin-cn/Latte-1 --local-dir DIR; then bring the folder here "
        "and give --model DIR"
    )
    with pytest.raises(SpecError, match="no such folder, and no name of the Hub"):
        draw(tmp_path / "nowhere", tmp_path / "out")


def test_a_second_process_waits_for_the_folder(folder: Path, tmp_path: Path) -> None:
    class WaitsError(Exception):
        pass

    def waits(what: str, done: int, total: int) -> None:
        raise WaitsError(what)

    with locked(tmp_path / "out"), pytest.raises(WaitsError, match="waiting for another process"):
        sample_text(TextRequest("a red square", str(folder), steps=1), tmp_path / "out", CPU, waits)
