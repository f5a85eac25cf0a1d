"""A training notes what its latents are standardised by; its samples are brought back by it."""

import json
from pathlib import Path

import pytest

from experiments.training.open_data import open_data, open_decoder
from registry.errors import RunError
from registry.runs.records import sealed
from tests.fixtures.toy_replicates import clips, finish, made

PIXELS = "components.data.autoencoders.pixels.Pixels"
ONE = ("floors=[]", "seeds=[0]", "claim=[]", "ablate={}")


def test_samples_are_brought_back_before_they_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Moving shapes are mostly black: a network that knows nothing but the standardisation draws dark pictures."""
    stated = made(tmp_path / "stated", *ONE)[0]
    finish(stated)
    assert clips(stated).mean() > 90  # mid-grey: nothing but noise about 0
    monkeypatch.setattr(f"{PIXELS}.scale", None)
    replicate = made(tmp_path / "unstated", *ONE)[0]
    finish(replicate)
    assert clips(replicate).mean() < 60
    prepared, cache = open_data(replicate)
    video = prepared.reader(0).frames(range(8))
    back = open_decoder(replicate.spec, replicate.training).decode(cache.clip(0, range(8)))
    # A float16 latent of at most 1 is off by 2**-12, or 0.03 of 255 levels.
    assert abs((back.permute(0, 2, 3, 1).numpy() + 1) * 127.5 - video).max() < 0.1


def test_other_numbers_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{PIXELS}.scale", None)
    replicate = made(tmp_path, *ONE)[0]
    file = replicate.training / "prepared.json"
    text = json.loads(file.read_text())
    assert len(text["latents"]["mean"]) == 48
    text.pop("sha256")
    text["latents"]["mean"][0] += 0.5
    file.write_text(json.dumps(sealed(text)))
    with pytest.raises(RunError, match="standardised by other numbers than when it was launched"):
        open_data(replicate)
    with pytest.raises(RunError, match="its latents were standardised by other numbers; use another --runs folder"):
        made(tmp_path, *ONE)
    file.unlink()
    outside = tmp_path / "weights.pt"  # a file that was not made here says nothing of its latents
    outside.touch()
    for place in (replicate.training, outside):
        with pytest.raises(RunError, match="autoencoder pixels states no scale: sample the run that it was trained in"):
            open_decoder(replicate.spec, place)
