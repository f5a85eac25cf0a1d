"""Which captions clips are drawn of, and that they are drawn of them: guided away from the empty caption."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from components.assembly import Assembly
from components.data.caption_cache import CaptionFiles
from components.data.manifest import Manifest, VideoRecord
from experiments.sampling.captions import Captions, captions_of, captions_written, embedded
from experiments.sampling.drawing import Drawing
from experiments.sampling.trainings import drawing_of
from registry.experiment.arms import resolve_experiment
from registry.experiment.experiment_file import load_experiment
from registry.runs.records import PreparedData, sealed
from tests.fixtures.text_trainings import write_text

CPU = torch.device("cpu")
TEXTS = ("a red circle moves left", "a blue square moves up", "a red circle moves left")


def toy(folder: Path, guidance: float) -> Drawing:
    """What the toy is drawn with, its network with random weights of every entry."""
    words = [f"sampling.guidance={guidance}"]
    spec = resolve_experiment(load_experiment(write_text(folder), words))[0][0].spec
    assembly = Assembly(spec)
    network = assembly.model()
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2, generator=generator)
    captions = embedded(TEXTS, assembly.text_encoder(), folder / "captions")
    one = drawing_of(spec, network.eval(), assembly.autoencoder(), 0, CPU)
    return replace(one, captions=captions)


def test_clips_take_captions_in_turn_whatever_the_batch(tmp_path: Path) -> None:
    """Levels of a pixel: another batch changes the rounding of products."""
    one = toy(tmp_path, 1.5)
    together, alone = one.clips(range(4)), np.concatenate([one.clips(range(n, n + 1)) for n in range(4)])
    assert np.abs(together.astype(int) - alone).max() <= 1
    other = replace(one, captions=replace(one.captions, texts=TEXTS[:1] * 3))
    changed = [not np.array_equal(a, b) for a, b in zip(other.clips(range(4)), together, strict=True)]
    assert changed == [False, True, False, False]


def test_guidance_goes_away_from_the_empty_caption(tmp_path: Path) -> None:
    """By hand: empty + scale * (captioned - empty), each predicted in a batch of its own."""
    one = toy(tmp_path, 3.0)
    assert one.captions is not None
    x, t = torch.randn(2, 4, 48, 4, 4, generator=torch.Generator().manual_seed(1)), torch.tensor([10.0, 700.0])
    text, mask = one.captions.read(range(2))
    with torch.no_grad():
        found = one._denoiser(range(2))(x, t)
        own = one.network(x, t, text=text[:2], text_mask=mask[:2])
        empty = one.network(x, t, text=text[2:].expand(2, -1, -1), text_mask=mask[2:].expand(2, -1))
        plain = replace(one, guidance=1.0)._denoiser(range(2))(x, t)
    # Differences of float32 numbers of about 1, by 3: some roundings of 6e-8.
    torch.testing.assert_close(found, empty + 3 * (own - empty), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(plain, own, rtol=0, atol=0)
    assert (own - empty).abs().max() > 1e-3


def test_half_precision_reads_captions(tmp_path: Path) -> None:
    one = toy(tmp_path, 2.0)
    assert replace(one, precision="bf16").clips(range(2)).shape == one.clips(range(2)).shape


def test_words_are_captions_or_files_of_them(tmp_path: Path) -> None:
    file = tmp_path / "captions.txt"
    file.write_text("a dog\n\n  a  cat sleeps \n")
    assert captions_written(["", "two  words", str(file)]) == (("", "two words", "a dog", "a cat sleeps"), [])
    (tmp_path / "none.txt").write_text("\n \n")
    (tmp_path / "pickle.txt").write_bytes(b"\xff\xfe\x00")
    _, wrong = captions_written(
        [str(tmp_path / name) for name in ("gone.txt", "none.txt", "pickle.txt")] + ["x" * 9999]
    )
    told = ["No such file or directory", "has no line that says something", "is no text in UTF-8"]
    assert [line.split(": ")[-1] for line in wrong] == told


def test_scored_clips_take_a_fair_sample_of_the_test_split(tmp_path: Path) -> None:
    records = [
        VideoRecord(
            path=f"{k:02}.avi", label="", class_rank=0, split="test" if k % 2 else "train", frames=9, height=8, width=8,
            fps=25.0, reader="pyav", sha256=str(k), damaged=0, note="", caption="" if k == 1 else f"video {k}",
        )
        for k in range(20)
    ]  # fmt: skip
    manifest = Manifest(tuple(records))
    data, training = tmp_path / "data", tmp_path / "training"
    data.mkdir()
    training.mkdir()
    manifest.write(data, [], [])
    about = PreparedData(
        digest=manifest.digest, folder=str(data), videos=20, autoencoder="a", captions=manifest.captions_digest
    )
    (training / "prepared.json").write_text(json.dumps(sealed(about.model_dump(mode="json"))))
    spec = resolve_experiment(load_experiment(write_text(tmp_path), []))[0][0].spec
    found = captions_of(spec, training)
    assert sorted(found) == sorted(f"video {k}" for k in range(3, 20, 2))
    assert list(found) != [f"video {k}" for k in range(3, 20, 2)]
    assert captions_of(spec, training) == found


@pytest.mark.parametrize("texts", [("a dog", ""), ("",)])
def test_the_empty_caption_may_be_asked_for(tmp_path: Path, texts: tuple[str, ...]) -> None:
    one = toy(tmp_path, 1.0)
    encoder = Assembly(resolve_experiment(load_experiment(write_text(tmp_path), []))[0][0].spec).text_encoder()
    files = CaptionFiles(tmp_path / "other", texts, encoder.fingerprint(), encoder.length)
    captions = Captions(texts, files.opened(lambda: encoder))
    assert replace(one, captions=captions).clips(range(2)).shape[0] == 2
