"""Paths with a home in front."""

from pathlib import Path

import pytest

from components.data.datasets.video_folder import VideoFolder
from components.model.checkpoints import inspect
from registry.errors import RunError, SpecError
from registry.parts.start_files import file_at
from registry.paths import expanded

NOBODY = "~no-such-user-here"


def test_a_home_is_put_in_front(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    assert expanded("~/videos") == Path("/somewhere/videos")
    assert expanded(Path("videos")) == Path("videos")


@pytest.mark.parametrize("of", [file_at, inspect, lambda path: VideoFolder(path, 16)])
def test_the_home_of_nobody_is_told_as_a_path_that_is_not_there(of) -> None:
    with pytest.raises((SpecError, RunError), match=NOBODY):
        of(f"{NOBODY}/there")
