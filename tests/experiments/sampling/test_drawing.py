"""Drawing clips: precisions, what is computed in float32 whatever they are, and how much is decoded at once."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from components.assembly import Assembly
from components.data.autoencoders import FRAMES_AT_ONCE
from experiments.sampling import drawing as drawing_module
from experiments.sampling.drawing import Drawing, draw, refuse_unless_computed
from experiments.sampling.sample_files import SampleFiles
from experiments.sampling.trainings import drawing_of, load_fitting
from registry.errors import RunError
from registry.experiment.arms import resolve_experiment
from registry.experiment.experiment_file import load_experiment
from tests.fixtures.toy_replicates import write

CPU = torch.device("cpu")


def toy(folder: Path, *overrides: str) -> Drawing:
    """What the toy's baseline is drawn with, its network with random weights of every entry."""
    spec = resolve_experiment(load_experiment(write(folder), ["ablate={}", "claim=[]", *overrides]))[0][0].spec
    network = Assembly(spec).model()
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1, generator=generator)
    return drawing_of(spec, network.eval(), Assembly(spec).autoencoder(), 0, CPU)


@pytest.mark.parametrize(("precision", "most"), [("bf16", 2**-8), ("fp16", 2**-11)])
def test_half_precision_is_near_float32(tmp_path: Path, precision: str, most: float) -> None:
    """Some ten roundings on the way are each off by `most` of values of about 1, which are 127.5 levels of a pixel."""
    one = toy(tmp_path)
    whole, half = one.clips(range(3)), replace(one, precision=precision).clips(range(3))
    assert not np.array_equal(whole, half)
    assert np.abs(whole.astype(int) - half).mean() <= 1 + 10 * most * 127.5


@pytest.mark.parametrize("sampler", ["{name: unipc, steps: 6, order: 3}", "{name: ddim, steps: 4}"])
def test_the_sampler_computes_in_float32(tmp_path: Path, sampler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network whose output does not depend on the precision gives the same bits in each."""
    one = toy(tmp_path, f"sampling.sampler={sampler}")

    def plain(x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        return x.sin()

    latents, decode = [], one.decoder.decode

    def noting(some: Tensor) -> Tensor:
        latents.append(some.clone())
        return decode(some)

    monkeypatch.setattr(one.network, "forward", plain)
    monkeypatch.setattr(one.decoder, "decode", noting)
    for precision in ("fp32", "bf16"):
        replace(one, precision=precision).clips(range(2))
    assert torch.equal(*latents)


def test_few_frames_are_decoded_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = toy(tmp_path)
    counts, decode = [], one.decoder.decode

    def counting(latents: Tensor) -> Tensor:
        counts.append((len(latents), latents.dtype))
        return decode(latents)

    expected = one.clips(range(9))
    monkeypatch.setattr(one.decoder, "decode", counting)
    assert np.array_equal(one.clips(range(9)), expected)
    assert counts == [(FRAMES_AT_ONCE, torch.float32)] * 2 + [(4, torch.float32)]  # 9 clips of 4 frames


@pytest.mark.parametrize(
    ("precision", "told"),
    [
        ("fp16", "clips 0 to 1 are not finite in fp16; take bf16 or fp32"),
        ("fp32", "clips 0 to 1 are not finite; look at the losses of the training"),
    ],
)
def test_what_is_not_finite_is_told_and_not_drawn_black(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str, told: str
) -> None:
    one, most = replace(toy(tmp_path), precision=precision), 60000 if precision == "fp16" else 1e30
    monkeypatch.setattr(
        one.network, "forward", lambda x, t, labels=None: (x.half() if most == 60000 else x) * most * most
    )
    with pytest.raises(RunError, match=told):
        one.clips(range(2))


def test_a_precision_that_torch_lacks_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for precision in ("fp32", "bf16"):
        refuse_unless_computed(precision, CPU)
    monkeypatch.setitem(drawing_module.HALVES, "fp16", torch.float64)  # what no autocast has
    with pytest.raises(RunError, match=r"precision fp16: torch .* has none on cpu"):
        refuse_unless_computed("fp16", CPU)


def test_learned_entries_of_another_shape_are_refused_by_name(tmp_path: Path) -> None:
    spec = resolve_experiment(load_experiment(write(tmp_path), ["ablate={}", "claim=[]"]))[0][0].spec
    larger = spec.model_copy(update={"data": spec.data.model_copy(update={"resolution": 32})})
    weights = Assembly(spec).model().state_dict()
    fixed = Assembly(larger).model()
    own = fixed.spatial_position.clone()
    load_fitting(fixed, weights)  # its table of positions stays its own
    assert torch.equal(fixed.spatial_position, own)
    assert torch.equal(fixed.state_dict()["patch_embedding.proj.weight"], weights["patch_embedding.proj.weight"])
    wider = spec.model_copy(update={"model": spec.model.model_copy(update={"width": 32})})
    with pytest.raises(RunError, match=r"do not fit a network of this shape: patch_embedding\.proj\.weight is"):
        load_fitting(Assembly(wider).model(), weights)


def test_a_batch_under_way_counts_by_its_steps(tmp_path: Path) -> None:
    one, told = toy(tmp_path, "sampling.sampler={name: ddim, steps: 4}"), []
    files = SampleFiles(tmp_path / "arrays", 6, "nobody")
    files.folder.mkdir()
    draw(one, files, files.missing(4, []), lambda: False, lambda *words: told.append(words))
    assert told == [("sampling", done, 6) for done in (1, 2, 3, 4, 4, 5, 5, 6)]
    assert files.whole(thorough=True) == [range(4), range(4, 6)]
