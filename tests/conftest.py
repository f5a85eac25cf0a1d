"""Options and fixtures that every test room shares."""

import gc
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from registry.runs.machine import look_rarely_for_garbage

look_rarely_for_garbage()  # it took a tenth of the time of all tests
HERE = Path(__file__).parent
# A busy machine is slow for reasons of its own: how long an example takes says nothing of the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


class Golden:
    """A directory of golden fixtures, driven by its `manifest.json`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())["fixtures"]

    def config(self, name: str) -> dict[str, Any]:
        return self.manifest[name]

    def tensors(self, name: str) -> dict[str, Any]:
        from safetensors.torch import load_file

        return load_file(self.folder / self.manifest[name]["file"])

    def json(self, name: str) -> Any:
        return json.loads((self.folder / self.manifest[name]["file"]).read_text())


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--golden", type=Path, default=HERE / "data" / "golden", help="directory of golden fixtures")
    parser.addoption(
        "--shared-data",
        type=Path,
        default=HERE.parent.parent / "shared" / "data",
        help="directory of real videos (weizmann/, clips/); tests that need it are skipped where it is absent",
    )
    parser.addoption(
        "--shared-weights",
        type=Path,
        default=HERE.parent.parent / "shared" / "weights",
        help="directory of small trained weights (taef2/); tests that need them are skipped where it is absent",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let each process of tests begin with its share of the files that have a slow test, the slowest first.

    pytest-xdist gives each process an equal stretch of the list first. With all slow files at its head, one process had
    them all, and the longest test was begun when nothing else was left.
    """
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    minutes = {file: max(map(_minutes, own)) for file, own in files.items()}
    slow = sorted((file for file in files if minutes[file]), key=lambda file: -minutes[file])
    shares = [[item for file in slow[first::processes] for item in files[file]] for first in range(processes)]
    others = [item for file, own in files.items() if not minutes[file] for item in own]
    for share in shares[:-1]:
        room = max(len(items) // processes - len(share), 0)
        share += others[:room]
        others = others[room:]
    shares[-1] += others
    items[:] = [item for share in shares for item in share]


def pytest_collection_finish() -> None:
    """Look for no garbage in what was imported and collected."""
    gc.collect()
    gc.freeze()


def _minutes(item: pytest.Item) -> float:
    """How long a slow test takes, 0 for any other."""
    marker = item.get_closest_marker("slow")
    return float(marker.kwargs.get("minutes", 1)) if marker else 0.0


@pytest.fixture(autouse=True)
def same_environment() -> Iterator[None]:
    """Leave no variable behind: with other variables than at first no later command could be forked (`cli.command`)."""
    before = dict(os.environ)
    yield
    for name in {name for name, _ in before.items() ^ os.environ.items()} - {"PYTEST_CURRENT_TEST"}:
        if name in before:
            os.environ[name] = before[name]
        else:
            del os.environ[name]


@pytest.fixture(scope="session")
def golden(request: pytest.FixtureRequest) -> Golden:
    return Golden(request.config.getoption("--golden"))


@pytest.fixture(scope="session")
def shared_data(request: pytest.FixtureRequest) -> Path:
    folder: Path = request.config.getoption("--shared-data")
    if not folder.is_dir():
        pytest.skip(f"no real videos at {folder}; give them with --shared-data DIR")
    return folder


@pytest.fixture(scope="session")
def taef2_weights(request: pytest.FixtureRequest) -> Path:
    folder: Path = request.config.getoption("--shared-weights") / "taef2"
    if not folder.is_dir():
        pytest.skip(f"no weights of taef2 at {folder}; give their parent with --shared-weights DIR")
    return folder
