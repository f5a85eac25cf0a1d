"""TF32: set where it is allowed, for the time of a block, and never on a CPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from components import precision
from components.data.autoencoders.networks import in_batches
from components.precision import tf32
from components.scoring.detectors.random_r3d import RandomR3D
from components.scoring.features import extraction
from experiments.sampling import drawing
from experiments.sampling import trainings as sampling
from experiments.training import trainer
from tests.fixtures.toy_replicates import made, never, nothing, trainer_of

GPU, CPU = torch.device("cuda"), torch.device("cpu")  # to name a GPU there need be none


def settings() -> tuple[bool, bool]:
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


@pytest.fixture
def put_back() -> Iterator[None]:
    before = settings()
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.mark.usefixtures("put_back")
@pytest.mark.parametrize("allowed", [True, False])
@pytest.mark.parametrize("before", [(True, True), (False, True), (False, False)])
def test_products_on_a_gpu_are_set_for_the_block(before: tuple[bool, bool], allowed: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
    with tf32(allowed, GPU):
        assert settings() == (allowed, allowed)
    assert settings() == before
    with pytest.raises(KeyError), tf32(allowed, GPU):
        raise KeyError
    assert settings() == before
    with tf32(allowed, CPU):
        assert settings() == before


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What code in this process allows of TF32, in order."""
    given: list[bool] = []

    @contextmanager
    def note(allowed: bool, device: torch.device) -> Iterator[None]:
        given.append(allowed)
        yield

    for module in (precision, extraction, trainer, drawing):
        monkeypatch.setattr(module, "tf32", note)
    return given


def test_what_arms_share_is_never_in_tf32(asked: list[bool]) -> None:
    """Latents are cached for all arms, and features are said to be of float32."""
    in_batches(lambda frames: frames, torch.zeros(3, 1), SimpleNamespace(device=CPU))
    assert asked == [False]
    clip = np.zeros((4, 16, 16, 3), dtype=np.uint8)
    extraction.features_of(RandomR3D(width=4), clip)
    assert asked == [False, False]


@pytest.mark.parametrize(("written", "allowed"), [((), True), (("runtime.tf32=false",), False)])
def test_training_and_sampling_go_by_the_runtime(
    tmp_path: Path, asked: list[bool], written: tuple[str, ...], allowed: bool
) -> None:
    (replicate,) = made(tmp_path, "seeds=[0]", "floors=[]", "learning.steps=1", "sampling.clips=2", *written)
    del asked[:]
    trainer.train(trainer_of(replicate), never, nothing)
    assert asked == [allowed]
    sampling.sample(replicate, CPU, never, nothing)
    assert asked == [allowed, allowed]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_tf32_rounds_the_factors_of_products_on_a_gpu() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(256, 256, generator=generator) for _ in range(2))
    exact = a.double() @ b.double()
    off = []
    for allowed in (True, False):
        with tf32(allowed, GPU):
            off.append(float(((a.to(GPU) @ b.to(GPU)).cpu() - exact).abs().max() / exact.abs().max()))
    # TF32 puts each factor off by at most 2^-11 of itself, so a product by 2^-10, and of 256 products of both signs the
    # errors cancel as the products do. In float32 the same is 2^-13 of that, 1.2e-7.
    assert off[1] < 1e-6 < off[0] < 2**-10
