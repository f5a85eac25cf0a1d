"""Every command of docs/initialisation.md, as it stands there."""

import re
import shlex

import pytest

from registry.runs.machine import ROOT
from tests.cli.command import run

PAGE = (ROOT / "docs" / "initialisation.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^python run\.py (.+)$", PAGE, re.MULTILINE) + re.findall(r"`python run\.py ([^`]+)`", PAGE)


def test_the_page_has_commands() -> None:
    assert len(COMMANDS) == 3


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_page_works(command: str) -> None:
    told = run(*shlex.split(command))
    assert told.code == 0, told.err
    assert told.out
