"""Every command of the README, of a page of docs/ or of the head of an experiment: its verb, options and keys exist.

That commands do what they say is for the tests of their pages and verbs; this holds what is written to what is there.
"""

import contextlib
import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest

from experiments.cli.app import app
from registry.errors import SpecError
from registry.experiment.keys import keys_at
from registry.parts.catalogue import catalogue
from registry.runs.machine import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
HEADS = sorted((ROOT / "experiments").rglob("*.yaml"))
PROGRAM = r"(?:python run\.py|\$ python run\.py|latte-workbench) "
KEY = re.compile(r"([a-z_]+(?:\.[a-z_0-9]+)*)=")
OF_PROTOCOL = ("score", "protocol")  # verbs whose KEY=VALUE change a protocol, and are no keys of an experiment


def commands(path: Path) -> list[str]:
    """Return what stands behind the program's name in code blocks and in code within lines."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".yaml":
        return re.findall(rf"^# Command: {PROGRAM}(.*?)(?: +\(.*)?$", text, flags=re.MULTILINE)
    blocks = [block.replace("\\\n", " ") for block in re.findall(r"```\w*\n(.*?)```", text, flags=re.DOTALL)]
    lines = [found for block in blocks for found in re.findall(rf"^\s*{PROGRAM}(.*)$", block, flags=re.MULTILINE)]
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    lines += re.findall(rf"^    {PROGRAM}(.*)$", prose, flags=re.MULTILINE)
    return lines + [" ".join(found.split()) for found in re.findall(rf"`{PROGRAM}([^`]+)`", prose)]


def is_a_command(line: str) -> bool:
    """Whether it is meant as it stands, and not as a form such as `VERB FILE` or with words left out."""
    return not re.search(r"VERB|\[|^…|^\.\.\.", re.sub(r"'[^']*'|\S+=\S+", "", line))


def parsed(words: list[str]) -> tuple[click.Command, dict[str, Any]]:
    """Return the verb and what its options and arguments are read as; files need not be there."""
    context = click.Context(app, info_name="run.py")
    command: click.Command = app
    while isinstance(command, click.Group):
        name, *words = words
        found = command.get_command(context, name)
        assert found is not None, f"no verb {name}"
        context, command = click.Context(found, parent=context, info_name=name), found
    for parameter in command.params:  # what has to exist does so for the user, not here
        if isinstance(parameter.type, click.Path):
            parameter.type.exists = False
    values, left, _ = command.make_parser(context).parse_args(args=list(words))
    assert not left, f"no argument for {left}"
    for parameter in command.params:
        parameter.process_value(context, parameter.consume_value(context, values)[0])
    return command, values


def is_a_key(path: str) -> bool:
    """Whether it is a key, or a parameter of the part at one."""
    for tried in (path, path.rpartition(".")[0]):
        with contextlib.suppress(SpecError):
            return bool(keys_at(tried, catalogue()))
    return False


@pytest.mark.parametrize("path", [*PAGES, *HEADS], ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_can_be_given(path: Path) -> None:
    for line in filter(is_a_command, commands(path)):
        words = shlex.split(line, comments=True)
        words = words[: min([words.index(mark) for mark in (">", "|", "&&") if mark in words], default=len(words))]
        try:
            command, values = parsed(words)
        except click.UsageError as error:
            raise AssertionError(f"{path.name}: {line}: {error.format_message()}") from None
        if command.name in OF_PROTOCOL:
            continue
        given = [value for name in ("overrides", "words") if isinstance(value := values.get(name), (list, tuple))]
        for word in (word for value in given for word in value):
            if key := KEY.match(word):
                assert is_a_key(key[1]), f"{path.name}: {line}: there is no key {key[1]}"


def test_an_option_that_does_not_exist_is_seen() -> None:
    with pytest.raises(click.UsageError, match="No such option"):
        parsed(["launch", "experiments/quickstart.yaml", "--exekutor", "slurm"])
    with pytest.raises(click.UsageError, match="not one of"):
        parsed(["launch", "experiments/quickstart.yaml", "--executor", "cloud"])


def test_pages_have_commands() -> None:
    assert len(commands(ROOT / "README.md")) > 10
    assert len(commands(ROOT / "docs" / "text.md")) > 5
    assert commands(ROOT / "experiments" / "quickstart.yaml")
