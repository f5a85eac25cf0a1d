"""Latents whose autoencoder states no scale have mean 0 and spread 1 over the training split, and are brought back."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from components.data.autoencoders.pixels import Pixels
from components.data.datasets.moving_shapes import MovingShapes
from components.data.prepare import Prepared, prepare
from components.data.standardisation import FILE, Standardisation, StandardisedDecoder
from components.data.transforms import TRANSFORMS
from registry.errors import RunError
from registry.runs.records import LatentStatistics

SIZE = 16


class Unscaled(Pixels):
    """Latents that nobody scaled: each channel of another mean and spread."""

    scale = None  # type: ignore[assignment]

    def _columns(self) -> tuple[Tensor, Tensor]:
        channels = torch.arange(self.channels)[:, None, None]
        return 2.0 - channels / 4, 3.0 + channels / 8

    def encode_moments(self, frames: Tensor) -> Tensor:
        mean, spread = self._columns()
        return super().encode_moments(frames) * spread + mean

    def decode(self, latents: Tensor) -> Tensor:
        mean, spread = self._columns()
        return super().decode((latents - mean) / spread)

    def fingerprint(self) -> str:
        return "unscaled"


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    return prepare(MovingShapes(None, SIZE, videos=20, length=6), tmp_path)


def _cache(prepared: Prepared, autoencoder: Pixels):  # type: ignore[no-untyped-def]
    return prepared.build_cache(autoencoder, SIZE, TRANSFORMS[0], True, flip=False)


def _file(prepared: Prepared) -> Path:
    (file,) = (prepared.folder / "latents").glob(f"*/{FILE}")
    return file


def test_the_training_split_has_mean_0_and_spread_1(prepared: Prepared) -> None:
    cache = _cache(prepared, Unscaled(SIZE, factor=4))
    clips = torch.cat([cache.clip(video, range(6)) for video in prepared.videos("train")]).double()
    # Mean and spread are stored to 6 digits of numbers below 10: off by 1e-5 at most, in units of a spread above 0.1.
    assert clips.mean((0, 2, 3)).abs().max() < 1e-4
    assert (clips.std((0, 2, 3), correction=0) - 1).abs().max() < 1e-4
    every = torch.cat([cache.clip(video, range(6)) for video in range(20)]).double()
    assert every.mean((0, 2, 3)).abs().max() > 1e-3  # the test split was not looked at


def test_an_autoencoder_that_states_its_scale_is_left_alone(prepared: Prepared) -> None:
    cache = _cache(prepared, Pixels(SIZE, factor=4))
    assert cache.standardisation is None
    assert not list((prepared.folder / "latents").glob(f"*/{FILE}"))


def test_decoding_brings_the_pixels_back(prepared: Prepared) -> None:
    autoencoder = Unscaled(SIZE, factor=4)
    cache = _cache(prepared, autoencoder)
    assert cache.standardisation is not None
    whole = StandardisedDecoder(autoencoder, cache.standardisation)
    plain = _cache(prepared, Pixels(SIZE, factor=4))
    pixels = Pixels(SIZE, factor=4).decode(plain.clip(3, range(6)))
    # Both caches hold float16: 2**-11 of latents up to 10, divided by a spread of 3 or more.
    torch.testing.assert_close(whole.decode(cache.clip(3, range(6))), pixels, atol=5e-3, rtol=0)


def test_moments_with_a_variance_are_standardised_as_what_is_drawn_from_them() -> None:
    by = Standardisation(LatentStatistics(encoding="", mean=(2.0, -1.0), spread=(0.5, 4.0)))
    moments = torch.randn(3, 4, 5, 5)
    noise = torch.randn(3, 2, 5, 5)

    def drawn(some: Tensor) -> Tensor:
        mean, log_variance = some.chunk(2, dim=-3)
        return mean + torch.exp(log_variance / 2) * noise

    torch.testing.assert_close(by.restored(drawn(by.moments(moments))), drawn(moments))


def test_it_is_measured_once_and_again_where_its_file_is_damaged(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _cache(prepared, Unscaled(SIZE, factor=4)).standardisation
    text = _file(prepared).read_text()
    with monkeypatch.context() as patched:
        patched.setattr("components.data.standardisation._measure", lambda *_: pytest.fail("measured again"))
        assert _cache(prepared, Unscaled(SIZE, factor=4)).standardisation == first
    edited = json.loads(text)
    edited["mean"][0] += 1
    for damaged in (json.dumps(edited), text[:100], ""):
        _file(prepared).write_text(damaged)
        assert _cache(prepared, Unscaled(SIZE, factor=4)).standardisation == first
        assert _file(prepared).read_text() == text


def test_a_channel_that_never_changes_is_not_blown_up(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    class Constant(Unscaled):
        def encode_moments(self, frames: Tensor) -> Tensor:
            return torch.full((len(frames), *self.latent_shape), 0.7)

        def fingerprint(self) -> str:
            return "constant"

    clip = _cache(prepared, Constant(SIZE, factor=4)).clip(0, range(6))
    assert clip.abs().max() < 1e-3
    monkeypatch.setattr(Constant, "fingerprint", lambda self: "infinite")
    monkeypatch.setattr(Constant, "encode_moments", lambda self, frames: torch.full((len(frames), 48, 4, 4), 1e6))
    with pytest.raises(RunError, match="latents are not finite"):
        _cache(prepared, Constant(SIZE, factor=4))
