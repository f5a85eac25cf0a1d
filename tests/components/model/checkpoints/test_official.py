"""Files as the official training scripts write them, and as compiled models and DiT's release leave them."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from components.model.checkpoints import load_official, read_official, to_official
from registry.errors import RunError, SpecError
from tests.fixtures.networks import official_network

CONFIG = {"input_size": 4, "patch_size": 2, "in_channels": 4, "hidden_size": 16, "depth": 2, "num_heads": 2,
          "num_frames": 3, "learn_sigma": True, "extras": 1}  # fmt: skip


@pytest.fixture
def weights() -> dict[str, Tensor]:
    network = official_network(CONFIG)
    network.initialise(torch.Generator().manual_seed(3))
    return to_official(network.state_dict())


@pytest.mark.parametrize("form", ["plain", "joint", "flat", "compiled"])
def test_every_form_of_file_loads(tmp_path: Path, weights: dict[str, Tensor], form: str) -> None:
    other = {name: value + 1 for name, value in weights.items()}
    content = {
        "plain": {"model": other, "ema": weights},  # sampling takes the average where there is one
        "joint": {"ema": weights},
        "flat": weights,
        "compiled": {"ema": {f"_orig_mod.{name}": value for name, value in weights.items()}},
    }[form]
    torch.save(content, tmp_path / "0010000.pt")
    network = official_network(CONFIG)
    load_official(network, read_official(tmp_path / "0010000.pt"))
    for name, value in to_official(network.state_dict()).items():
        assert torch.equal(value, weights[name]), name


def test_what_is_no_checkpoint_is_refused(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    (tmp_path / "text.pt").write_text("no checkpoint")
    with pytest.raises(RunError, match=r"text.pt: no checkpoint can be read from it: it is not a file of tensors"):
        read_official(tmp_path / "text.pt")
    with pytest.raises(SpecError, match=r"there is no file .*absent.pt"):
        read_official(tmp_path / "absent.pt")
    torch.save({"ema": {"step": 3}}, tmp_path / "numbers.pt")
    with pytest.raises(RunError, match="no dictionary of tensors"):
        read_official(tmp_path / "numbers.pt")
    torch.save(weights | {"extra": torch.zeros(1)}, tmp_path / "more.pt")
    with pytest.raises(RunError, match="unexpected extra"):
        load_official(official_network(CONFIG), read_official(tmp_path / "more.pt"))
