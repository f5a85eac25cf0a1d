"""Autoencoders: shapes as planned, pixels exact, and the real loading code on tiny weights made here."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from components.data.autoencoders import FRAMES_AT_ONCE
from components.data.autoencoders.pixels import Pixels
from components.data.autoencoders.sd_vae import StableDiffusionVAE
from components.data.autoencoders.taesd import TinyAutoencoder
from registry.errors import RunError, SpecError


@pytest.fixture(scope="module")
def tiny_vae(tmp_path_factory: pytest.TempPathFactory) -> str:
    from diffusers import AutoencoderKL

    return _save(AutoencoderKL, tmp_path_factory.mktemp("vae"), **_blocks("block_out_channels", [4, 4, 4, 4]))


@pytest.fixture(scope="module")
def tiny_taesd(tmp_path_factory: pytest.TempPathFactory) -> str:
    from diffusers import AutoencoderTiny

    blocks = dict.fromkeys(("encoder_block_out_channels", "decoder_block_out_channels"), (4, 4, 4, 4))
    counts = {"num_encoder_blocks": (1, 1, 1, 1), "num_decoder_blocks": (1, 1, 1, 1)}
    return _save(AutoencoderTiny, tmp_path_factory.mktemp("taesd"), **blocks, **counts)


def _blocks(key: str, channels: list[int]) -> dict[str, Any]:
    kinds = {"down_block_types": "DownEncoderBlock2D", "up_block_types": "UpDecoderBlock2D"}
    return {key: channels, "norm_num_groups": 2, **{name: [kind] * len(channels) for name, kind in kinds.items()}}


def _save(network: Any, folder: Path, **config: Any) -> str:
    torch.manual_seed(0)
    network(**{"latent_channels": 4, **config}).save_pretrained(folder)
    return str(folder)


@settings(max_examples=20)
@given(factor=st.integers(1, 8), cells=st.integers(1, 4), frames=st.integers(1, 3))
def test_pixels_are_exact(factor: int, cells: int, frames: int) -> None:
    autoencoder = Pixels(factor * cells, factor=factor)
    pixels = torch.rand(frames, 3, factor * cells, factor * cells) * 2 - 1
    latents = autoencoder.draw(autoencoder.encode_moments(pixels))
    assert latents.shape == (frames, *autoencoder.latent_shape)
    assert torch.equal(autoencoder.decode(latents), pixels)


def test_pixels_gather_what_lies_together() -> None:
    pixels = torch.zeros(1, 3, 8, 8)
    pixels[:, :, 4:, :4] = 1
    latents = Pixels(8, factor=4).encode_moments(pixels)
    assert torch.equal(latents[0, 0], torch.tensor([[0.0, 0.0], [1.0, 0.0]]))


@pytest.mark.parametrize("part", [StableDiffusionVAE, TinyAutoencoder])
def test_networks_have_the_planned_shapes(part: Any, tiny_vae: str, tiny_taesd: str) -> None:
    autoencoder = part(32, weights=tiny_vae if part is StableDiffusionVAE else tiny_taesd)
    assert autoencoder.latent_shape == part.plan_shape(32, {}) == (4, 4, 4)
    frames = torch.rand(FRAMES_AT_ONCE + 3, 3, 32, 32) * 2 - 1
    moments = autoencoder.encode_moments(frames)
    assert moments.shape == (len(frames), autoencoder.moments, 4, 4)
    torch.testing.assert_close(moments[-2:], autoencoder.encode_moments(frames[-2:]), atol=1e-5, rtol=0)
    latents = autoencoder.draw(moments, torch.Generator().manual_seed(0))
    assert latents.shape == (len(frames), autoencoder.channels, 4, 4)
    assert torch.equal(latents, autoencoder.draw(moments, torch.Generator().manual_seed(0)))
    assert autoencoder.decode(latents).shape == frames.shape
    assert not moments.requires_grad


def test_vae_draws_the_scaled_posterior(tiny_vae: str) -> None:
    autoencoder = StableDiffusionVAE(32, weights=tiny_vae)
    assert autoencoder.scale == pytest.approx(0.18215)
    frames = torch.rand(2, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        theirs = autoencoder.network.encode(frames).latent_dist.sample(torch.Generator().manual_seed(4)) * 0.18215
    ours = autoencoder.draw(autoencoder.encode_moments(frames), torch.Generator().manual_seed(4))
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)
    # A leading batch of clips changes nothing: (B, F, 2C, h, w).
    moments = autoencoder.encode_moments(frames)[None]
    assert torch.equal(autoencoder.draw(moments, torch.Generator().manual_seed(4))[0], ours)


def test_vae_decodes_unscaled_latents(tiny_vae: str) -> None:
    autoencoder = StableDiffusionVAE(32, weights=tiny_vae)
    latents = torch.randn(2, 4, 4, 4)
    with torch.no_grad():
        theirs = autoencoder.network.decode(latents).sample
    torch.testing.assert_close(autoencoder.decode(latents * 0.18215), theirs, atol=1e-5, rtol=1e-4)


def test_fingerprint_is_that_of_the_weights(tiny_vae: str, tmp_path: Path) -> None:
    one, two = (StableDiffusionVAE(size, weights=tiny_vae) for size in (32, 64))
    assert one.fingerprint() == two.fingerprint()
    with torch.no_grad():
        next(two.network.parameters()).add_(1e-3)
    assert one.fingerprint() != two.fingerprint()
    assert Pixels(8, factor=2).fingerprint() != Pixels(8, factor=4).fingerprint()


@pytest.mark.parametrize("part", [StableDiffusionVAE, TinyAutoencoder])
def test_missing_weights_say_what_to_do(part: Any, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"cannot be loaded.*set data\.autoencoder\.weights"):
        part(32, weights=str(tmp_path / "nowhere"))


def test_weights_with_another_factor_are_refused(tmp_path: Path) -> None:
    from diffusers import AutoencoderKL

    folder = _save(AutoencoderKL, tmp_path, **_blocks("block_out_channels", [4, 4]))
    with pytest.raises(RunError, match="4 channels at 1/2"):
        StableDiffusionVAE(32, weights=folder)


@pytest.mark.parametrize(
    ("part", "parameters"), [(Pixels, {"factor": 3}), (StableDiffusionVAE, {}), (TinyAutoencoder, {})]
)
def test_indivisible_resolution_is_refused_before_weights_are_needed(part: Any, parameters: dict[str, int]) -> None:
    with pytest.raises(SpecError, match="20 pixels a side"):
        part.plan_shape(20, parameters)
