"""MLflow's pages as people see them: a real server over a real experiment, in a real browser."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from selenium import webdriver

from experiments.tracking.store import address
from tests.browser import mlflow_pages
from tests.browser.mlflow_pages import LARGEST, NAMES, PICTURES, Pages, dashboard, look, runs_of
from tests.cli.command import Launched
from tests.fixtures import mlflow_server
from tests.fixtures.browser import chromium, needed

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path_factory.mktemp("browser") / "profile") as found:
        yield found


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> Launched:
    needed("chromium")  # before anything takes long
    found = Launched(tmp_path_factory.mktemp("launched"))
    assert found.told.code == 0, found.told
    return found


def test_a_dashboard_over_sqlite(launched: Launched, browser: webdriver.Chrome, tmp_path: Path) -> None:
    uri = f"sqlite:///{launched.runs / 'mlflow.db'}"
    with dashboard(launched.file, "--runs", launched.runs) as printed:
        pictures = look(Pages(browser, printed, tmp_path), runs_of(uri, "toy"))
        assert "variant_1" in Pages(browser, printed, tmp_path).text
    assert len({path.read_bytes() for path in pictures}) == len(NAMES)
    for path in pictures:
        with Image.open(path) as image:
            assert image.size == mlflow_pages.SIZE


def test_a_server_over_postgresql(launched: Launched, browser: webdriver.Chrome, tmp_path: Path) -> None:
    if why := mlflow_server.unavailable():
        pytest.fail(why) if os.environ.get("WORKBENCH_CI") == "1" else pytest.skip(why)
    with mlflow_server.running() as server:
        told = launched.verbs("sync", "--tracking-uri", server.uri)
        assert told.code == 0, told
        runs = runs_of(server.uri, "toy")
        page = address(server.uri, runs[0].info.experiment_id)
        assert page in told.out
        look(Pages(browser, page, tmp_path), runs)


def test_the_pictures_of_the_documentation_are_there_and_small() -> None:
    names = {f"{name}.png" for name in NAMES}
    assert {path.name for path in PICTURES.glob("*.png")} == names
    page = (PICTURES.parent / "mlflow.md").read_text(encoding="utf-8")
    for name in names:
        assert (PICTURES / name).stat().st_size < LARGEST
        assert f"](mlflow/{name})" in page
