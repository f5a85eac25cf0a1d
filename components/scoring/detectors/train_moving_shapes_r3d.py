"""Train the network of moving_shapes_r3d: python -m components.scoring.detectors.train_moving_shapes_r3d

It learns from clips of the embedded data set, half of them on a made-up background, to tell direction, shape, size,
colour, place and speed, and how strongly each of six corruptions was applied. Everything is seeded; on one core it
takes about ten minutes. The file it writes is the one that the detector loads.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from components.data.datasets.moving_shapes import DIRECTIONS, MovingShape
from components.scoring.corruptions import OF_CLIPS, Clips
from components.scoring.detectors.moving_shapes_network import DIMENSIONS, MovingShapesNetwork, prepared
from components.scoring.detectors.moving_shapes_r3d import WEIGHTS

STEPS, BATCH, RATE, SEED = 1200, 32, 3e-3, 0
# The corruptions it learns, in the order in which they are applied: dropped_frames needs the frames around the clip.
SEEN = ("dropped_frames", "frozen_frames", "frame_shuffle", "darker", "blur", "noise")
FRAMES = (4, 8, 8, 12, 16)  # clip lengths, one a batch
SIDES = (16, 32, 48, 64, 64, 64, 96)
TOLD = {"direction": 4, "shape": 1, "size": 1, "colour": 3, "place": 2, "speed": 1, "strengths": len(SEEN)}
CLEAN = 1024  # clips from which the map that whitens the features is taken
SHRINKAGE = 1.0  # how far it is drawn towards plain scaling; directions that hardly vary are not blown up

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Lesson:
    """Prepared clips (N, 8, F, 64, 64), and what is to be told of each, by the names of `TOLD`."""

    clips: Tensor
    told: dict[str, Tensor]


def texture(side: int, draw: np.random.Generator) -> Floats:
    """A picture (side, side, 3) of random blotches at several scales, values 0 to 255."""
    picture = np.zeros((side, side, 3), np.float32)
    for cells in (2, 4, 8, 16, 32):
        grid = draw.standard_normal((min(cells, side), min(cells, side), 3), dtype=np.float32)
        grey = draw.random() < 0.5
        grid = grid.mean(axis=2, keepdims=True).repeat(3, axis=2) if grey else grid
        picture += _enlarged(grid, side) * np.float32(draw.uniform(5, 60) * 2 / (1 + cells))
        if cells >= 8 and draw.random() < 0.4:  # hard edges
            picture += np.float32(draw.uniform(5, 40)) * (picture > 0)
    bright = picture + np.float32(draw.uniform(30, 180))
    return bright.clip(0, 255)


def _enlarged(grid: Floats, side: int) -> Floats:
    cells = torch.from_numpy(grid).permute(2, 0, 1)[None]
    enlarged = functional.interpolate(cells, size=(side, side), mode="bilinear", align_corners=False)
    return enlarged[0].permute(1, 2, 0).numpy()


def shape(length: int, side: int, direction: str, draw: np.random.Generator) -> MovingShape:
    """A video of the data set with that many frames."""
    return MovingShape("made", DIRECTIONS[direction], side, length, draw)


def scene(
    frames: int, side: int, textured: bool, draw: np.random.Generator
) -> tuple[Clips, MovingShape, str, NDArray[np.int64]]:
    """A window of `2 frames` frames, the shape in it, the name of its direction, and the numbers of the frames."""
    length = int(draw.integers(2 * frames, 6 * frames + 1))
    direction = str(draw.choice(list(DIRECTIONS)))
    moving = shape(length, side, direction, draw)
    numbers = int(draw.integers(0, length - 2 * frames + 1)) + np.arange(2 * frames)
    pictures = moving.frames(numbers.tolist()).astype(np.float32)
    if textured:
        brightest = int(moving.colour.argmax())
        cover = pictures[..., brightest : brightest + 1] / moving.colour[brightest]
        pictures = (pictures + (1 - cover) * _background(2 * frames, side, draw)).astype(np.float32)
    return np.rint(pictures).clip(0, 255).astype(np.uint8), moving, direction, numbers


def _background(frames: int, side: int, draw: np.random.Generator) -> Floats:
    still = texture(side, draw)
    if draw.random() < 0.5:
        background = np.repeat(still[None], frames, axis=0)
    else:  # a camera that pans
        step = draw.uniform(-0.02, 0.02, size=2) * side
        background = np.stack([np.roll(still, tuple(np.rint(step * k).astype(int)), (0, 1)) for k in range(frames)])
    if draw.random() < 0.5:  # somebody else in the picture
        other = shape(2 * frames, side, str(draw.choice(list(DIRECTIONS))), draw)
        pictures = other.frames(range(frames // 2, frames // 2 + frames)).astype(np.float32)
        background = background + pictures * np.float32(draw.uniform(0.1, 0.7))
    return background.astype(np.float32)


def lesson(frames: int, count: int, draw: np.random.Generator, *, clean: bool = False) -> Lesson:
    """Clips of `frames` frames, most with one or two corruptions unless they are to be clean."""
    clips: list[Tensor] = []
    told: dict[str, list[object]] = {name: [] for name in (*TOLD, "moves")}
    for number in range(count):
        side = int(draw.choice(SIDES))
        window, moving, direction, numbers = scene(frames, side, number % 2 == 1, draw)
        strengths = np.zeros(len(SEEN), np.float32)
        spoiled = () if clean else draw.permutation(len(SEEN))[: draw.choice(3, p=(0.3, 0.55, 0.15))]
        for which in sorted(spoiled):
            strengths[which] = draw.uniform(0, 1)
            window = OF_CLIPS[SEEN[which]](window, float(strengths[which]), draw, frames)
        if len(window) > frames:
            window = window[frames // 2 : frames // 2 + frames]
        clips.append(prepared(torch.from_numpy(np.ascontiguousarray(window))[None]))
        centres = moving.centres[numbers[frames // 2 : frames // 2 + frames]] / side
        told["direction"].append(list(DIRECTIONS).index(direction))
        told["shape"].append([float(moving.shape == "circle")])
        told["size"].append([(moving.half - 0.11) / 0.02])
        told["colour"].append((moving.colour - 170) / 60)
        told["place"].append((centres.mean(axis=0) - 0.5) / 0.2)
        told["speed"].append([np.log(np.linalg.norm(np.diff(centres, axis=0), axis=1).mean() / 0.02)])
        told["strengths"].append(strengths * 2)
        told["moves"].append(1 - max(strengths[1:3]))  # how far the motion can still be told
    return Lesson(torch.cat(clips), {name: _tensor(values) for name, values in told.items()})


def _tensor(values: list[object]) -> Tensor:
    array = np.asarray(values)
    return torch.from_numpy(array if array.dtype.kind == "i" else array.astype(np.float32))


def losses(answers: Tensor, told: dict[str, Tensor]) -> dict[str, Tensor]:
    """The loss of each thing told, from answers (N, sum of `TOLD`)."""
    parts = dict(zip(TOLD, answers.split(list(TOLD.values()), dim=1), strict=True))
    moves = told["moves"]
    found = {
        "direction": (functional.cross_entropy(parts["direction"], told["direction"], reduction="none") * moves).mean(),
        "shape": functional.binary_cross_entropy_with_logits(parts["shape"], told["shape"]) * 0.5,
        "speed": (functional.smooth_l1_loss(parts["speed"], told["speed"], reduction="none")[:, 0] * moves).mean(),
        "strengths": 5 * functional.smooth_l1_loss(parts["strengths"], told["strengths"], beta=0.3),
    }
    for name in ("size", "colour", "place"):
        found[name] = functional.smooth_l1_loss(parts[name], told[name]) * 0.5
    return found


def train(steps: int, seed: int, say: Callable[[str], None] = print) -> MovingShapesNetwork:
    """The trained network, its features scaled, in evaluation mode."""
    torch.manual_seed(seed)
    draw = np.random.default_rng(seed)
    network = MovingShapesNetwork().to(memory_format=torch.channels_last_3d)
    heads = nn.Sequential(nn.BatchNorm1d(DIMENSIONS, affine=False), nn.Linear(DIMENSIONS, sum(TOLD.values())))
    trained = [*(weight for weight in network.parameters() if weight.requires_grad), *heads.parameters()]
    optimiser = torch.optim.AdamW(trained, lr=RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps, pct_start=0.1)
    started = time.monotonic()
    running: dict[str, float] = {}
    for step in range(1, steps + 1):
        taught = lesson(FRAMES[step % len(FRAMES)], BATCH, draw)
        clips = taught.clips.contiguous(memory_format=torch.channels_last_3d)
        found = losses(heads(network.pooled(clips)), taught.told)
        optimiser.zero_grad()
        sum(found.values(), torch.zeros(())).backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        schedule.step()
        for name, loss in found.items():
            running[name] = 0.95 * running.get(name, loss.item()) + 0.05 * loss.item()
        if step % 50 == 0 or step == steps:
            shown = "  ".join(f"{name} {value:.3f}" for name, value in running.items())
            say(f"step {step}/{steps}  {time.monotonic() - started:.0f} s  {shown}")
    network.eval()
    with torch.no_grad():
        for name, value in network.state_dict().items():
            value.copy_(_stored(name, value))
    whiten(network, seed)
    return network


@torch.no_grad()
def whiten(network: MovingShapesNetwork, seed: int) -> None:
    """Set the map (C + s I)^(-1/2) / sqrt(D), C the covariance of clean clips and s a part of its mean variance."""
    draw = np.random.default_rng([seed, 1])
    network.whitening.copy_(torch.eye(DIMENSIONS))
    clean = torch.cat([network(lesson(8, 32, draw, clean=True).clips) for _ in range(CLEAN // 32)]).double()
    values, vectors = torch.linalg.eigh(clean.T.cov())
    roots = (values.clamp(min=0) + SHRINKAGE * values.mean()).rsqrt() / DIMENSIONS**0.5
    network.whitening.copy_(((vectors * roots) @ vectors.T).float())


def save(network: MovingShapesNetwork, path: Path) -> None:
    """Write the weights: convolutions as float16, the rest as float32."""
    state = {name: value for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    save_file({name: _stored(name, value).contiguous() for name, value in state.items()}, path)


def _stored(name: str, value: Tensor) -> Tensor:
    return value.half() if name.endswith(("convolution.weight", "shortcut.weight")) else value


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the network of the detector moving_shapes_r3d.")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="the safetensors file to write")
    given = parser.parse_args()
    torch.set_num_threads(1)
    network = train(given.steps, given.seed, lambda line: print(line, flush=True))
    save(network, given.out)
    print(f"wrote {given.out}")


if __name__ == "__main__":
    main()
