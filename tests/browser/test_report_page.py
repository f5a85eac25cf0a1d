"""The page of a report in a browser: it fetches nothing, fits a phone, plays, and can be used without seeing it."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from components.data.video.writer import write_mp4
from experiments.launch import report
from experiments.plan.loading import load_plan
from experiments.tracking import mlflow_sync
from registry.runs.replicate import Replicate
from tests.fixtures.browser import DESKTOP, PHONE, axe_source, chromium, look_at, serious
from tests.fixtures.finished_runs import finish
from tests.fixtures.toy_replicates import TOY, write
from tests.waiting import PATIENCE

HEAD = """# Which is better?
#
# Paper:   variant_1 is best,
#          and variant_4 is worst.
about: Two arrangements.
"""
PLAYING = "return [...document.querySelectorAll('video')].map(one => !one.paused && one.readyState >= 2)"


def scores(replicate: Replicate) -> dict[str, float]:
    return {"fvd[moving_shapes_r3d]": 30.0 + replicate.seed + ("variant_4" in replicate.arm) * (1 + 3 * replicate.seed)}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a toy experiment that claims something, with videos."""
    folder = tmp_path_factory.mktemp("report")
    plan = load_plan(write(folder, HEAD + TOY.lstrip()), (), folder / "runs")
    for replicate in finish(plan, scores, losses=12):
        shown = replicate.folder / "previews"
        shown.mkdir()
        for number in range(2):
            frames = np.random.default_rng(number).integers(0, 255, (8, 64, 64, 3), dtype=np.uint8)
            write_mp4(shown / f"clip-{number:03d}.mp4", frames, 8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mlflow_sync, "try_sync", lambda *words: "")
        patch.setattr(report.preparing, "late_floor", lambda *words: False)
        return report.report(plan).folder / "report.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path_factory.mktemp("chromium") / "profile") as opened:
        opened.set_script_timeout(PATIENCE)
        yield opened


@pytest.fixture(scope="module")
def axe(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> str:
    kept = getattr(pytestconfig, "cache", None)  # with `-p no:cacheprovider` there is none
    return axe_source(tmp_path_factory.mktemp("axe-core") if kept is None else Path(kept.mkdir("axe-core")))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_page_fits_plays_and_is_usable(
    browser: webdriver.Chrome, page: Path, axe: str, size: tuple[int, int], dark: bool
) -> None:
    browser.get_log("performance")  # what other pages fetched
    look_at(browser, page, size, dark=dark)
    WebDriverWait(browser, PATIENCE).until(lambda one: all(one.execute_script(PLAYING)))
    assert len(browser.execute_script(PLAYING)) == 4
    wide, inside = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert inside == size[0]
    assert wide <= inside
    assert serious(browser, axe) == []
    assert fetched(browser) <= {page.as_uri()}
    assert [entry["message"] for entry in browser.get_log("browser")] == []
    back, letters = browser.execute_script(
        "return [getComputedStyle(document.body).backgroundColor, getComputedStyle(document.querySelector('svg')).fill]"
    )
    assert (brightness(back) < 60 < 180 < brightness(letters)) if dark else (brightness(back) > 180)


def fetched(browser: webdriver.Chrome) -> set[str]:
    """What was asked for since the log was last read, without what stands in the page itself."""
    messages = (json.loads(entry["message"])["message"] for entry in browser.get_log("performance"))
    urls = {one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"}
    return {url for url in urls if not url.startswith("data:")}


def brightness(colour: str) -> float:
    """Of `rgb(1, 2, 3)`: the mean of its channels."""
    return float(np.mean([float(one) for one in colour.split("(")[1].rstrip(")").split(",")[:3]]))


def test_who_wants_less_motion_gets_videos_that_stand_and_have_controls(browser: webdriver.Chrome, page: Path) -> None:
    look_at(browser, page, DESKTOP, still=True)
    state = "return [...document.querySelectorAll('video')].map(one => [one.paused, one.controls, one.autoplay])"
    WebDriverWait(browser, PATIENCE).until(lambda one: one.execute_script("return document.readyState") == "complete")
    assert browser.execute_script(state) == [[True, True, False]] * 4
    button = browser.find_element(By.ID, "play")
    assert button.text == "Play all videos"
    button.click()
    WebDriverWait(browser, PATIENCE).until(lambda one: all(one.execute_script(PLAYING)))
    button.click()
    assert browser.execute_script(state) == [[True, True, False]] * 4


def test_the_keyboard_reaches_the_content_and_what_is_folded(browser: webdriver.Chrome, page: Path) -> None:
    look_at(browser, page, DESKTOP)
    browser.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    assert browser.switch_to.active_element.text == "To the content"
    browser.execute_script("document.querySelector('summary').focus()")
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert browser.execute_script("return document.querySelector('details').open")


def test_the_paper_stands_beside_the_claim_and_prints(browser: webdriver.Chrome, page: Path) -> None:
    look_at(browser, page, DESKTOP, dark=True)
    words = browser.find_element(By.TAG_NAME, "main").text
    for text in ("What the paper says: variant_1 is best, and variant_4 is worst.", "undecided", "About"):
        assert text in words, text
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
    back = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert brightness(back) > 180  # paper is white, whatever the screen was
    sheet = browser.execute_cdp_cmd("Page.printToPDF", {})["data"]
    assert len(sheet) > 10_000


def test_where_ci_installs_the_browser_its_absence_is_no_reason_to_skip(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.fixtures.browser import needed

    monkeypatch.setenv("PATH", os.devnull)
    monkeypatch.setenv("WORKBENCH_CI", "1")
    with pytest.raises(AssertionError, match="chromium is missing"):
        needed("chromium")
    monkeypatch.delenv("WORKBENCH_CI")
    with pytest.raises(pytest.skip.Exception, match="apt-get install chromium"):
        needed("chromium")
