"""docs/checkpoints.md: its commands and its Python do what it says."""

import re
import shlex
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from experiments.cli.app import app
from registry.runs.machine import ROOT
from tests.fixtures.checkpoint_files import latte_entries, save

PAGE = (ROOT / "docs" / "checkpoints.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


def test_commands_and_python_of_the_page_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    save(tmp_path / "ffs.pt", {"ema": latte_entries(width=64, heads=1, classes=0)})
    commands = [line for block in blocks("bash") for line in block.splitlines() if line]
    assert len(commands) > 4
    for line in commands:
        _, _, *words = shlex.split(line, comments=True)
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, (line, done.output)
    back = torch.load(tmp_path / "back.pt", weights_only=True)
    assert torch.equal(back["ema"]["pos_embed"], torch.load(tmp_path / "ffs.pt", weights_only=True)["ema"]["pos_embed"])
    for code in blocks("python"):
        names: dict[str, object] = {"torch": torch}
        exec(code, names)
        found = names["noise_and_variance"]
        assert isinstance(found, torch.Tensor)
        assert found.shape == (1, 4, 8, 4, 4)


def test_the_refusal_on_the_page_is_what_is_said() -> None:
    from components.model.checkpoints.layout import differences
    from registry.schema.section import Part
    from registry.schema.spec import ModelSpec

    network = ModelSpec(width=16, heads=2, depth=2, blocks=Part(name="variant_3"))
    (said,) = differences(network, ModelSpec(width=16, heads=2, depth=2), "latte")
    assert said in PAGE
