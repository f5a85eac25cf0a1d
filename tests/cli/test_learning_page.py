"""Every command of docs/learning.md does what it says."""

import re

import pytest

from registry.runs.machine import ROOT
from tests.cli.command import run

PAGE = (ROOT / "docs" / "learning.md").read_text(encoding="utf-8")
COMMANDS = [
    line.removeprefix("python run.py ")
    for block in re.findall(r"^```sh\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)
    for line in block.splitlines()
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_page(command: str) -> None:
    told = run(*command.split())
    assert told.code == 0, told.err


def test_every_part_of_a_slot_of_the_page_is_on_it() -> None:
    for slot in ("optimiser", "loss_weighting", "timestep_sampling", "qk_norm", "spatial_position"):
        for part in run("parts", "--slot", slot, "--format", "json").json:
            assert f"`{part['name']}`" in PAGE, part
