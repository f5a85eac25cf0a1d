"""Options and fixtures that every test room shares."""

import json
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent


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
    """Put the files that have a slow test first, so that no core waits for the last of them at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


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
