"""The helper of these tests: a plain command is forked from what has imported everything, in the whole suite, too."""

import os
import subprocess

from tests.cli.command import ENVIRONMENT, begin, read_at_start


def test_a_plain_command_starts_no_python_anew() -> None:
    """All tests have been collected by now: whatever their imports change in the environment makes no difference."""
    left = read_at_start(os.environ | {"OMP_NUM_THREADS": "1"}).items() ^ read_at_start(ENVIRONMENT).items()
    assert not left, "variables that the import of a test set"
    begun = begin("--version")
    assert not isinstance(begun.process, subprocess.Popen)
    told = begun.told()
    assert (told.code, told.err) == (0, "")
