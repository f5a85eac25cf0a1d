"""What `check` says of an experiment file before anything is computed."""

from pathlib import Path

from tests.cli.command import run
from tests.fixtures.toy_replicates import write


def test_mirroring_is_refused_where_it_makes_clips_of_no_class(tmp_path: Path) -> None:
    file = write(tmp_path)
    told = run("check", file, "data.flip=0.5")
    assert (told.code, told.out) == (2, "")
    assert told.err.startswith("command line: data.flip: a mirrored clip of moves_left is one of moves_right")
    assert told.err.count("\n") == 1
    assert run("check", file, "data.flip=0.5", "data.dataset.classes=4", "model.classes=4").code == 0
