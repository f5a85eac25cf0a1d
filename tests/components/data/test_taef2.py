"""The autoencoder taef2: its files load strictly, pictures come back as well as they should, and what is refused."""

import hashlib
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from components import weights
from components.data.autoencoders.taef2 import TinyFlux2Autoencoder
from components.data.autoencoders.taef2_network import Halves
from components.data.transforms import to_pixels
from registry.errors import RunError, SpecError
from tests.cli.command import run

# A reconstruction in dB depends on the frames that are taken; one layer left out costs several dB.
MARGIN = 1.0


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of random weights in the layout and precision of the published files."""
    folder = tmp_path_factory.mktemp("taef2")
    torch.manual_seed(0)
    network = Halves()
    for half in ("encoder", "decoder"):
        state = {name: value.half() for name, value in getattr(network, half).state_dict().items()}
        torch.save(state, folder / f"taef2_{half}.pth")
    return folder


def test_shapes_are_as_planned_and_frames_are_coded_one_by_one(made: Path) -> None:
    autoencoder = TinyFlux2Autoencoder(16, weights=str(made))
    assert autoencoder.latent_shape == TinyFlux2Autoencoder.plan_shape(16, {}) == (32, 2, 2)
    assert autoencoder.scale is None
    frames = torch.rand(18, 3, 16, 16) * 2 - 1
    moments = autoencoder.encode_moments(frames)
    assert moments.shape == (18, autoencoder.moments, 2, 2)
    assert torch.equal(autoencoder.draw(moments, None), moments)
    # Convolutions of another batch size may sum in another order: 1e-5 of values of order 1.
    torch.testing.assert_close(autoencoder.encode_moments(frames[17:]), moments[17:], atol=1e-5, rtol=1e-4)
    assert autoencoder.decode(moments).shape == frames.shape
    assert not moments.requires_grad


def test_entries_are_those_of_the_published_files(made: Path) -> None:
    """Names and shapes of some entries and the count of all, as the files have them (shared weights' README)."""
    halves = [torch.load(made / f"taef2_{half}.pth", weights_only=True) for half in ("encoder", "decoder")]
    assert [len(half) for half in halves] == [79, 79]
    assert halves[0]["11.pool.3.weight"].shape == (64, 256, 1, 1)
    assert halves[0]["14.weight"].shape == (32, 64, 3, 3)
    assert "10.bias" not in halves[0]
    assert halves[1]["1.weight"].shape == (64, 32, 3, 3)
    assert halves[1]["19.bias"].shape == (3,)
    assert all(1.33e6 < sum(value.numel() for value in half.values()) < 1.36e6 for half in halves)


def test_loading_draws_no_random_number(made: Path) -> None:
    before = torch.random.get_rng_state()
    TinyFlux2Autoencoder(16, weights=str(made))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_fingerprint_is_that_of_both_halves(made: Path, tmp_path: Path) -> None:
    first = TinyFlux2Autoencoder(16, weights=str(made)).fingerprint()
    assert TinyFlux2Autoencoder(32, weights=str(made)).fingerprint() == first
    for half in ("encoder", "decoder"):
        other = TinyFlux2Autoencoder(16, weights=str(made))
        with torch.no_grad():
            next(getattr(other.network, half).parameters()).add_(1e-2)
        assert other.fingerprint() != first


def test_what_is_refused(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpecError, match="taef2: frames of 20 pixels a side"):
        TinyFlux2Autoencoder.plan_shape(20, {})
    with pytest.raises(SpecError, match=r"data\.autoencoder\.weights: there is no folder .*taef2_encoder\.pth and"):
        TinyFlux2Autoencoder(16, weights=str(tmp_path / "nowhere"))
    with pytest.raises(SpecError, match=r"data\.autoencoder\.weights: there is no file '.*taef2_encoder\.pth'"):
        TinyFlux2Autoencoder(16, weights=str(tmp_path))
    swapped = tmp_path / "swapped"
    swapped.mkdir()
    (swapped / "taef2_encoder.pth").write_bytes((made / "taef2_decoder.pth").read_bytes())
    with pytest.raises(RunError, match=r"taef2_encoder\.pth: these are not the weights of taef2_encoder: "):
        TinyFlux2Autoencoder(16, weights=str(swapped))
    torch.save([torch.zeros(2)], swapped / "taef2_encoder.pth")
    with pytest.raises(RunError, match="it does not hold tensors by name"):
        TinyFlux2Autoencoder(16, weights=str(swapped))
    torch.save(Path("code"), swapped / "taef2_encoder.pth")
    with pytest.raises(RunError, match="would run code"):
        TinyFlux2Autoencoder(16, weights=str(swapped))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for half in ("ENCODER", "DECODER"):
        monkeypatch.delenv(f"LATTE_WORKBENCH_TAEF2_{half}", raising=False)
    with pytest.raises(RunError, match=r"fetch-weights taef2`, or put taef2_encoder\.pth into .* 'pixels'"):
        TinyFlux2Autoencoder(16)
    weights.cache_folder().mkdir(parents=True)
    for half in ("encoder", "decoder"):
        (weights.cache_folder() / f"taef2_{half}.pth").write_bytes((made / f"taef2_{half}.pth").read_bytes())
    with pytest.raises(RunError, match=r"taef2_encoder\.pth has SHA-256 .*, not 10a4e102"):
        TinyFlux2Autoencoder(16)


def test_the_name_fetches_both_files(tmp_path: Path, taef2_weights: Path) -> None:
    """What is there already is checked and told; nothing is downloaded."""
    cache = tmp_path / "latte-workbench"
    cache.mkdir()
    for half in ("encoder", "decoder"):
        (cache / f"taef2_{half}.pth").write_bytes((taef2_weights / f"taef2_{half}.pth").read_bytes())
    told = run("fetch-weights", "taef2", XDG_CACHE_HOME=str(tmp_path))
    assert (told.code, told.out.count("SHA-256 as published")) == (0, 2), told.err
    refused = run("fetch-weights", "taef2", "--sha256", "00", XDG_CACHE_HOME=str(tmp_path))
    assert refused.code == 2
    assert "taef2 is several files; fetch one of them: taef2_encoder, taef2_decoder" in refused.err


def test_published_files_bring_pictures_back(taef2_weights: Path, shared_data: Path) -> None:
    """Weizmann at 64 pixels 32.6 dB, carphone at 176x144 31.4 dB (shared weights' README), within 1 dB."""
    for half in ("encoder", "decoder"):
        known = weights.KNOWN[f"taef2_{half}"]
        content = (taef2_weights / known.file).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (known.sha256, known.size)
    autoencoder = TinyFlux2Autoencoder(64, weights=str(taef2_weights))
    people = [path for path in sorted((shared_data / "weizmann").glob("*/*")) if path.is_file()][::6]
    seen = torch.cat([to_pixels(_some(path, 2), 64, "short_side_then_center_crop", True) for path in people])
    assert _decibels(autoencoder, seen) == pytest.approx(32.6, abs=MARGIN)
    phone = torch.from_numpy(_some(shared_data / "clips" / "real" / "carphone_2997fps.mp4", 4))
    pixels = phone.permute(0, 3, 1, 2).float() / 127.5 - 1
    assert _decibels(autoencoder, pixels) == pytest.approx(31.4, abs=MARGIN)


def _some(path: Path, count: int) -> np.ndarray:
    """Frames uint8 (count, H, W, 3) spread over a video."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return np.stack(frames[:: max(1, len(frames) // count)][:count])


def _decibels(autoencoder: TinyFlux2Autoencoder, pixels: torch.Tensor) -> float:
    """Mean PSNR of frames (N, 3, H, W) in [-1, 1], coded and decoded."""
    back = autoencoder.decode(autoencoder.encode_moments(pixels)).clamp(-1, 1)
    return float(-10 * ((back - pixels) / 2).pow(2).mean((1, 2, 3)).log10().mean())
