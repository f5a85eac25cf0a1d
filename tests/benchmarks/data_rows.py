"""What `make benchmark` measures beside networks that are given latents: data, scores, and other packages.

No published weights are needed: autoencoder and I3D have their shapes and random weights, the videos are made.
"""

import atexit
import importlib.util
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from components.data.autoencoders.sd_vae import StableDiffusionVAE
from components.data.latent_cache import LatentCache
from components.data.video.writer import write_mp4
from components.scoring.detectors.i3d import direct_square
from components.scoring.detectors.i3d_folding import fold
from components.scoring.detectors.i3d_network import CLASSES, I3D
from components.scoring.features.extraction import features_of
from components.scoring.metrics.frechet import Moments, frechet_distance
from experiments.training.losses import autocast
from registry.runs.arrays import ArrayFile, array_writer
from tests.benchmarks.baselines.data import decoded, encoded, sd_vae
from tests.benchmarks.baselines.fvd import fvd
from tests.benchmarks.measuring import Row
from tests.benchmarks.rows import official_step, our_step, small_2
from tests.fixtures import diffusers_networks

VIDEOS, LENGTH, FRAMES = 4, 186, 16  # of UCF-101's mean length and size, 320x240 pixels
REPEATED = 6  # times that a made video says the same: making it takes as many times less
SIDE, BETWEEN = 256, 3  # pixels of the frames that the network sees, and how far they are apart


@cache
def folder() -> Path:
    """A folder for the time of this process."""
    path = Path(tempfile.mkdtemp(prefix="benchmark-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def videos() -> list[Path]:
    """Made videos of a picture that moves, with noise."""
    paths = [folder() / f"{number}.mp4" for number in range(VIDEOS)]
    for number, path in enumerate(paths):
        if not path.exists():
            write_mp4(path, _frames(number), fps=25, loops=REPEATED)
    return paths


def _frames(number: int) -> Iterator[np.ndarray]:
    draw = np.random.default_rng(number)
    rows, columns = np.mgrid[:240, :320]
    for frame in range(LENGTH // REPEATED):
        waves = [np.sin((rows * (c + 1) + columns * 2 + frame * 5 * (number + 1)) / 40) for c in range(3)]
        picture = 127 + 90 * np.stack(waves, axis=-1) + draw.normal(0, 4, (240, 320, 3))
        yield picture.clip(0, 255).astype(np.uint8)


def latents() -> LatentCache:
    """A cache of moments of as many frames, of the size that the SD VAE gives."""
    path, shape = folder() / "plain.npy", (VIDEOS * LENGTH, 8, SIDE // 8, SIDE // 8)
    if not path.exists():
        with array_writer(path, shape, np.float16, "benchmark") as append:
            append(np.random.default_rng(0).normal(0, 0.5, shape))
    return LatentCache([LENGTH] * VIDEOS, ArrayFile(path, "benchmark"), None)


def fetching(device: torch.device) -> Row:
    """A batch of clips: of the cache, or of whole videos that are decoded, cut, resized and cropped."""
    paths, cached = videos(), latents()
    numbers = [[10 * video + BETWEEN * frame for frame in range(FRAMES)] for video in range(VIDEOS)]
    ways = {
        "official": lambda: decoded(paths, numbers, SIDE).to(device),
        "cache": lambda: cached.batch(range(VIDEOS), torch.tensor(numbers), [False] * VIDEOS).to(device),
    }
    return Row(f"fetching {VIDEOS} clips of {FRAMES} frames, 320x240, {LENGTH} frames long", ways, repetitions=5)


def training_with_data(device: torch.device) -> Row:
    """A training step of S/2, a clip fetched and encoded for it, or its moments read from the cache and drawn from."""
    work, paths, cached, network = small_2(device), videos(), latents(), sd_vae(device)
    numbers = [[10 + BETWEEN * frame for frame in range(FRAMES)]] * work.size

    def encode() -> Tensor:
        return encoded(network, decoded(paths[: work.size], numbers, SIDE).to(device))

    def read() -> Tensor:
        moments = cached.batch(range(work.size), torch.tensor(numbers), [False] * work.size).to(device)
        return StableDiffusionVAE.draw(moments)

    ways: dict[str, Callable[[], object]] = {"official": official_step(work, encode)}
    ways |= {precision: our_step(work, precision, read) for precision in ("fp32", "bf16")}
    return Row(f"training step with data at {SIDE}x{SIDE}, {work.name}", ways, repetitions=1)


class Measured(I3D):
    """I3D as an extractor, its weights random and of a size that keeps activations (golden README, 7.2)."""

    label, rows_per_clip, dimensions = "i3d", 1, CLASSES

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        for layer in self.modules():
            if isinstance(layer, nn.Conv3d):
                nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=generator)

    def features(self, clips: Tensor) -> Tensor:
        return self(direct_square(clips))


def scoring(device: torch.device, clips: int = 4, frames: int = FRAMES, side: int = 128) -> Row:
    """FVD of one more arm whose real clips are known, or of both sides measured anew."""
    network = Measured().eval().to(device)
    weights = network.state_dict()
    fold(network)
    generator = torch.Generator().manual_seed(1)
    real, fake = (torch.randint(0, 256, (clips, frames, side, side, 3), generator=generator).byte() for _ in range(2))
    fake //= 2  # another law

    def moments(videos: Tensor) -> Moments:
        found = Moments(CLASSES)
        found.update(np.concatenate([features_of(network, clip, str(device)) for clip in videos.numpy()]))
        return found

    known = moments(real)
    ways = {
        "official": lambda: fvd(weights, real.to(device), fake.to(device)),
        "ours": lambda: frechet_distance(moments(fake), known),
    }
    return Row(f"FVD of {clips} clips against {clips} known real ones, I3D's shape", ways, repetitions=2)


def against_diffusers(device: torch.device, **changed: Any) -> Row:
    """A forward pass of the text-conditional network of S/2's shape with 120 words of text, the weights the same."""
    shape: dict[str, Any] = {
        "num_attention_heads": 6, "attention_head_dim": 64, "num_layers": 6, "cross_attention_dim": 384,
        "sample_size": 32, "caption_channels": 4096, "video_length": FRAMES,
    }  # fmt: skip
    shape |= changed
    theirs = diffusers_networks.latte_transformer(**shape)
    with torch.no_grad():
        for weight in theirs.parameters():
            weight.mul_(0.1)  # of a width that is not tiny
    ours, theirs = diffusers_networks.ours(theirs).to(device), theirs.to(device)
    generator = torch.Generator().manual_seed(0)
    size = shape["sample_size"]
    x = torch.randn(1, shape["video_length"], 4, size, size, generator=generator).to(device)
    text = torch.randn(1, 120, shape["caption_channels"], generator=generator).to(device)
    t = torch.tensor([500], device=device)

    def asked(precision: str) -> Tensor:
        with torch.inference_mode(), autocast(device, precision):
            return ours(x, t, text=text)

    def diffusers() -> Tensor:
        with torch.inference_mode():
            found: Tensor = theirs(x.transpose(1, 2), t, text, return_dict=False)[0]
            return found.transpose(1, 2)

    ways = {"diffusers": diffusers, "fp32": lambda: asked("fp32"), "bf16": lambda: asked("bf16")}
    return Row("forward pass of S/2 with text, batch 1", ways, repetitions=2)


class _Given(nn.Module):
    """A feature network for torchmetrics that gives back what it is given."""

    num_features = CLASSES

    def forward(self, rows: Tensor) -> Tensor:
        return rows


def against_torchmetrics(device: torch.device, clips: int = 2048) -> Row:
    """The Fréchet distance of features that are known, moments and matrix root; torch-fidelity's where it is there."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(CLASSES, CLASSES, generator=generator) / CLASSES**0.5
    real, fake = (torch.randn(clips, CLASSES, generator=generator) @ mixing + shift for shift in (0.0, 0.1))

    def torchmetrics() -> float:
        metric = FrechetInceptionDistance(_Given(), input_img_size=(CLASSES,)).to(device).set_dtype(torch.float64)
        for rows, is_real in ((real, True), (fake, False)):
            for some in rows.to(device).split(64):
                metric.update(some, real=is_real)
        return float(metric.compute())

    def ours() -> float:
        sides = (Moments(CLASSES), Moments(CLASSES))
        for rows, moments in zip((fake, real), sides, strict=True):
            for some in rows.split(64):
                moments.update(some)
        return frechet_distance(*sides, unbiased=True)

    def torch_fidelity() -> float:
        from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

        statistics = (fid_features_to_statistics(rows.double()) for rows in (fake, real))
        return float(fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID])

    ways = {"torchmetrics": torchmetrics, "ours": ours}
    if importlib.util.find_spec("torch_fidelity"):
        ways["torch-fidelity"] = torch_fidelity
    return Row(f"Fréchet distance of {clips} features of {CLASSES}, ours always on the processor", ways, repetitions=5)


ROWS: dict[str, Callable[[torch.device], Row]] = {
    "step-with-data": training_with_data,
    "fetching": fetching,
    "fvd": scoring,
    "diffusers": against_diffusers,
    "torchmetrics": against_torchmetrics,
}
