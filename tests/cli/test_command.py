"""The helper of these tests: a plain command is forked from what has imported everything, in the whole suite, too."""

import subprocess

from tests.cli.command import begin


def test_a_plain_command_starts_no_python_anew() -> None:
    """All tests have been collected by now: whatever their imports change in the environment makes no difference."""
    begun = begin("--version")
    assert not isinstance(begun.process, subprocess.Popen)
    told = begun.told()
    assert (told.code, told.err) == (0, "")
