"""The latent cache gives what decoding, transforming and encoding give, whole or not at all."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from components.data.autoencoders.pixels import Pixels
from components.data.datasets.video_folder import VideoFolder
from components.data.latent_cache import Encoding, LatentCache
from components.data.prepare import Prepared, prepare
from components.data.transforms import TRANSFORMS, to_pixels
from components.data.video.reader import VideoReader
from registry.errors import RunError
from registry.runs import arrays
from tests.fixtures.made_videos import gradient_frames, write_pictures, write_video

SIZE = 16
ENCODING = Encoding("0" * 64, Pixels(SIZE), SIZE, TRANSFORMS[0], antialias=False)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    root = tmp_path_factory.mktemp("videos")
    write_video(root / "a" / "wide.avi", gradient_frames(20))
    write_video(root / "b" / "tall.mp4", gradient_frames(70, 64, 40, seed=1), b_frames=2)
    write_pictures(root / "b" / "pictures", [f"{k}.png" for k in range(9)], 20, 30)
    return prepare(VideoFolder(str(root), SIZE), tmp_path_factory.mktemp("prepared"))


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("antialias", [False, True])
def test_cache_is_decode_transform_encode(prepared: Prepared, transform: str, antialias: bool) -> None:
    autoencoder = Pixels(SIZE)
    steps: list[tuple[str, int, int]] = []
    cache = prepared.build_cache(
        autoencoder, SIZE, transform, antialias, flip=True, progress=lambda *step: steps.append(step)
    )
    assert cache.moments_shape == autoencoder.latent_shape
    assert steps[-1][1:] == (99, 99)
    for video, record in enumerate(prepared.records):
        indices = [record.frames - 1, 0, 3, 3]
        pixels = to_pixels(prepared.reader(video).frames(indices), SIZE, transform, antialias)
        for flipped in (False, True):
            direct = autoencoder.encode_moments(pixels.flip(-1) if flipped else pixels)
            cached = cache.clip(video, indices, flipped)
            assert cached.dtype == torch.float32
            assert torch.equal(cached, direct.to(torch.float16).float())


def test_batch_stacks_clips(prepared: Prepared) -> None:
    cache = prepared.build_cache(Pixels(SIZE), SIZE, TRANSFORMS[0], False, flip=True)
    indices = torch.tensor([[0, 2, 4], [5, 6, 8], [1, 1, 1]])
    flipped = torch.tensor([True, False, True])
    batch = cache.batch([2, 0, 2], indices, flipped)
    assert batch.shape == (3, 3, *cache.moments_shape)
    for place, video in enumerate((2, 0, 2)):
        assert torch.equal(batch[place], cache.clip(video, indices[place], bool(flipped[place])))


def test_frames_of_the_next_video_cannot_be_had_by_mistake(prepared: Prepared) -> None:
    cache = prepared.build_cache(Pixels(SIZE), SIZE, TRANSFORMS[0], False, flip=False)
    for wrong in ([prepared.records[0].frames], [-1]):
        with pytest.raises(IndexError, match="video 0 has frames 0 to"):
            cache.clip(0, wrong)


def test_built_once_and_flips_added_later(prepared: Prepared, tmp_path: Path) -> None:
    opened: list[int] = []
    lengths = prepared.lengths(range(3))

    def reader(video: int) -> VideoReader:
        opened.append(video)
        return prepared.reader(video)

    def build(flip: bool) -> LatentCache:
        LatentCache.build(tmp_path / "cache", ENCODING, lengths, reader, flip)
        return LatentCache.open(tmp_path / "cache", ENCODING, lengths, flip)

    plain = build(flip=False)
    assert opened == [0, 1, 2]
    build(flip=False)
    assert opened == [0, 1, 2]
    with pytest.raises(RunError, match="no mirrored frames"):
        plain.clip(0, [0], flipped=True)
    before = (tmp_path / "cache" / "plain.npy").stat().st_mtime_ns
    assert build(flip=True).clip(0, [0], flipped=True).shape == (1, *plain.moments_shape)
    assert (tmp_path / "cache" / "plain.npy").stat().st_mtime_ns == before


def test_a_build_that_fails_leaves_nothing_that_looks_whole(prepared: Prepared, tmp_path: Path) -> None:
    def reader(video: int) -> VideoReader:
        if video == 2:
            raise KeyboardInterrupt
        return prepared.reader(video)

    lengths = prepared.lengths(range(3))
    with pytest.raises(KeyboardInterrupt):
        LatentCache.build(tmp_path, ENCODING, lengths, reader, flip=True)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    with pytest.raises(RunError, match=r"plain\.npy: is not there; run prepare first"):
        LatentCache.open(tmp_path, ENCODING, lengths, flip=False)
    (tmp_path / ".plain.npy.0123.tmp").write_bytes(b"of a builder that was killed")
    LatentCache.build(tmp_path, ENCODING, lengths, prepared.reader, flip=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "flipped.npy", "plain.npy"]


@pytest.mark.parametrize("flip", [False, True])
def test_a_flipped_bit_ends_who_meets_it_and_is_mended_by_the_next(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flip: bool
) -> None:
    monkeypatch.setattr(arrays, "BLOCK_BYTES", 4 * 2 * math.prod(Pixels(SIZE).latent_shape))  # four frames
    lengths = prepared.lengths(range(3))
    file = tmp_path / ("flipped.npy" if flip else "plain.npy")
    told: list[str] = []

    def build(reader: Callable[[int], VideoReader] = prepared.reader) -> LatentCache:
        LatentCache.build(tmp_path, ENCODING, lengths, reader, flip, lambda what, *_: told.append(what))
        return LatentCache.open(tmp_path, ENCODING, lengths, flip)

    build()
    whole = file.read_bytes()
    damaged = bytearray(whole)
    damaged[128 + 14 * 2 * math.prod(Pixels(SIZE).latent_shape)] ^= 1  # in frame 14, which is of the first video
    file.write_bytes(damaged)
    cache = build(_nobody)
    cache.clip(0, range(12), flip)
    cache.clip(1, range(9), flip)
    for _ in range(2):  # by whoever, and again
        with pytest.raises(RunError, match=rf"{file.name}: rows 12 to 15 are damaged.*`retry`"):
            cache.clip(0, [15], flip)
    assert (tmp_path / f"{file.stem}.damaged").exists()
    told.clear()
    build()
    assert any(line.startswith(f"encoding again what is damaged: {file}: rows 12 to 15") for line in told), told
    assert file.read_bytes() == whole
    (tmp_path / f"{file.stem}.damaged").write_text("but it was a cable")
    build(_nobody)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != ".lock") == sorted({"plain.npy", file.name})


@pytest.mark.parametrize("deed", ["empty", "cut", "of an earlier version", "of other videos"])
def test_what_is_not_the_cache_is_made_again(prepared: Prepared, tmp_path: Path, deed: str) -> None:
    lengths, file = prepared.lengths(range(3)), tmp_path / "plain.npy"
    LatentCache.build(tmp_path, ENCODING, lengths, prepared.reader, flip=False)
    whole = file.read_bytes()
    if deed == "of an earlier version":
        np.save(file, np.load(file))
    elif deed == "of other videos":
        LatentCache.build(tmp_path, replace(ENCODING, digest="f"), lengths, prepared.reader, flip=False)
    else:
        file.write_bytes(whole[: 0 if deed == "empty" else -1])
    with pytest.raises(RunError, match=r"plain\.npy: .*run prepare first"):
        LatentCache.open(tmp_path, ENCODING, lengths, flip=False)
    LatentCache.build(tmp_path, ENCODING, lengths, prepared.reader, flip=False)
    assert file.read_bytes() == whole


def test_memory_stays_small(prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames are asked for in chunks that fit the limit, and the array is mapped, not read."""
    sizes: list[int] = []

    class Watched:
        def __init__(self, inner: VideoReader) -> None:
            self.inner = inner
            self.frames: Callable[..., np.ndarray] = inner.frames

        def chunks(self, size: int) -> Iterator[np.ndarray]:
            sizes.append(size)
            return self.inner.chunks(size)

    monkeypatch.setattr("components.data.latent_cache.CHUNK_BYTES", 5 * 48 * 64 * 3)
    lengths = prepared.lengths(range(3))
    LatentCache.build(tmp_path, ENCODING, lengths, lambda video: Watched(prepared.reader(video)), flip=False)
    assert sizes[0] == 5
    assert isinstance(LatentCache.open(tmp_path, ENCODING, lengths, flip=False)._files[0].array, np.memmap)


def test_key_depends_on_all_that_the_content_depends_on() -> None:
    others = [
        replace(ENCODING, digest="x"),
        replace(ENCODING, autoencoder=Pixels(SIZE, factor=2)),
        replace(ENCODING, resolution=32),
        replace(ENCODING, transform=TRANSFORMS[1]),
        replace(ENCODING, antialias=True),
    ]
    assert len({encoding.key for encoding in [ENCODING, *others]}) == 6


def _nobody(video: int) -> VideoReader:
    raise AssertionError("nothing is encoded again")
