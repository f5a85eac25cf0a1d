"""MLflow's pages of an experiment in headless Chromium, and pictures of them for docs/mlflow.md.

    OMP_NUM_THREADS=1 python -m tests.browser.mlflow_pages FILE [KEY.PATH=VALUE]... --runs RUNS [--take NAME,NAME]

brings the runs of a launched experiment to a store of its own, opens `dashboard` on it, looks at the pages that
tests/browser/test_mlflow_pages.py looks at, and writes the pictures into docs/mlflow: all, or those that are named. In
the documentation samples are those of a model that has learned, and arms are compared over several seeds:
`experiments/showcase_guidance.yaml --runs RUNS --take runs,video,report`, and
`experiments/quickstart.yaml --runs RUNS --take charts,parallel,compare`.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from registry.runs.machine import ROOT
from tests.fixtures.browser import chromium
from tests.fixtures.ports import free_port
from tests.waiting import PATIENCE, until

NAMES = ("charts", "runs", "video", "report", "parallel", "compare")  # of the pictures, in their order
PICTURES = ROOT / "docs" / "mlflow"
SIZE = (1400, 860)  # of the window in CSS pixels
LARGEST = 150_000  # bytes of a picture
ADDRESS = re.compile(r": (http://\S+/#/experiments/(\d+)/runs\?\S+)")
TRAINING = "?workflowType=machine_learning"  # else the page has the menu for language models
PARALLEL = ".js-plotly-plot .parcoords .axis-title"
CLOSE_ASSISTANT = "button[data-component-id='mlflow.assistant.chat_panel.close']"
PLAYS = """
const video = document.querySelector('video');
if (!video) return null;
video.muted = true;
if (video.paused && !video.error) video.play();
return {error: video.error && video.error.message, width: video.videoWidth, at: video.currentTime};
"""


class Pages:
    """An experiment's pages.

    Args:
        browser: that opens them.
        address: of the experiment, as `dashboard` prints it.
        folder: for the pictures.
    """

    def __init__(self, browser: webdriver.Chrome, address: str, folder: Path) -> None:
        self.browser, self.address, self.folder = browser, address, folder
        found = re.match(r"(http://[^/]+)/#/experiments/(\d+)/", address)
        assert found is not None, address
        self.server, self.experiment = found[1], found[2]
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": SIZE[0], "height": SIZE[1], "deviceScaleFactor": 1, "mobile": False},
        )

    def open(self, address: str, shown: Callable[[], object], why: str) -> None:
        """Open a page anew and wait until it shows something; MLflow's assistant is closed, which covers a quarter."""
        self.browser.get("about:blank")  # another hash alone would not load the page
        self.browser.get(address)

        def seen() -> bool:
            with contextlib.suppress(WebDriverException):  # an element that React has just replaced
                for button in self.browser.find_elements(By.CSS_SELECTOR, CLOSE_ASSISTANT):
                    self.browser.execute_script("arguments[0].click()", button)
                return bool(shown())
            return False

        try:
            until(seen, f"{why} at {address}")
        except AssertionError as error:
            raise AssertionError(f"{error}; the page says: {self.text[:2000]}") from None

    @property
    def text(self) -> str:
        """What can be read on the page."""
        return str(self.browser.execute_script("return document.body ? document.body.innerText : ''"))

    def charts(self, arms: Sequence[str]) -> None:
        """The address as it was printed: charts by arm."""
        self.open(self.address, lambda: self._drawn(arms), "there are charts by arm")

    def _drawn(self, arms: Sequence[str]) -> bool:
        bars = self.browser.find_elements(By.CSS_SELECTOR, ".js-plotly-plot .bars .point")
        return len(bars) >= len(arms) and self._grouped(arms)

    def _grouped(self, arms: Sequence[str]) -> bool:
        return all(f"Group: {arm}" in self.text for arm in arms)

    def runs(self, arms: Sequence[str]) -> None:
        """The same as a list."""
        address = self.address.replace("&compareRunsMode=CHART", "")
        self.open(address, lambda: self._grouped(arms), "there is a list of runs by arm")

    def artifact(self, run: str, name: str, shown: Callable[[], object]) -> None:
        """A file of a run."""
        place = f"{self.server}/#/experiments/{self.experiment}/runs/{run}/artifacts/{name}{TRAINING}"
        self.open(place, shown, f"{name} is shown")

    def plays(self) -> bool:
        """Whether a video plays on the page."""
        told = self.browser.execute_script(PLAYS)
        assert not (told and told["error"]), f"the video cannot be played: {told['error']}"
        return bool(told and told["width"] and told["at"] > 0)

    def run(self, run: str, shown: str) -> None:
        """The overview of a run, whose long description says something."""
        place = f"{self.server}/#/experiments/{self.experiment}/runs/{run}{TRAINING}"
        self.open(place, lambda: self._unfolded() and shown in self.text, f"{shown!r} can be read")

    def _unfolded(self) -> bool:
        """Unfold a long description, of which the page shows the first lines; whether all of it is seen."""
        for button in self.browser.find_elements(By.XPATH, "//*[text()='Show more']"):
            self.browser.execute_script("arguments[0].click()", button)
        return "Show less" in self.text

    def parallel(self, runs: Sequence[str], metric: str) -> None:
        """Several runs as parallel coordinates: what they differ in, and a metric in place of the page's own choice."""
        self._open_compared(runs)
        field = self.browser.find_elements(By.CSS_SELECTOR, "input[role=combobox]")[1]  # behind that of the params
        self.browser.execute_script("arguments[0].focus()", field)
        field.send_keys(Keys.BACKSPACE, metric, Keys.ENTER, Keys.ESCAPE)
        until(lambda: metric in self._lines(), f"there is an axis {metric}")

    def _open_compared(self, runs: Sequence[str]) -> None:
        listed = json.dumps(list(runs), separators=(",", ":"))
        words = f"runs={quote(listed)}&experiments={quote(json.dumps([self.experiment]))}"
        place = f"{self.server}/#/compare-runs?{words}&{TRAINING.removeprefix('?')}"
        self.open(
            place, lambda: self.browser.find_elements(By.CSS_SELECTOR, PARALLEL), "there are parallel coordinates"
        )

    def _lines(self) -> str:
        found = self.browser.execute_script(
            f"return [...document.querySelectorAll('{PARALLEL}')].map(x => x.textContent)"
        )
        return " ".join(found)

    def compared(self, runs: Sequence[str]) -> None:
        """The same page further down: the runs side by side, with the params in which they differ."""
        self._open_compared(runs)
        (switch,) = self.browser.find_elements(By.CSS_SELECTOR, "button[aria-label^='Parameters']")
        self.browser.execute_script("arguments[0].click(); arguments[0].scrollIntoView({block: 'center'})", switch)
        until(lambda: "data.resolution" not in self.text, "params that are equal are left out")

    def picture(self, name: str) -> Path:
        """Take a picture of the page."""
        path = self.folder / f"{name}.png"
        self.browser.save_screenshot(str(path))
        with Image.open(path) as image:  # few colours: a third of the bytes
            image.convert("RGB").quantize(128).save(path, optimize=True)
        return path


@contextlib.contextmanager
def dashboard(*words: object) -> Iterator[str]:
    """Run the verb until the end of the block, where Ctrl-C ends it; give the address that it prints."""
    command = [sys.executable, str(ROOT / "run.py"), "dashboard", *map(str, words), "--no-browser"]
    command += ["--port", str(free_port())]
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    with tempfile.TemporaryFile("w+") as told:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment | {"PYTHONUNBUFFERED": "1"}, stdout=told, stderr=told, text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
        )  # fmt: skip

        def printed() -> str:
            told.seek(0)
            return told.read()

        try:
            until(lambda: ADDRESS.search(printed()) or process.poll() is not None, "an address is printed")
            found = ADDRESS.search(printed())
            assert found is not None, printed()
            yield found[1]
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            code = process.wait(PATIENCE)
        assert code == 0, printed()


def runs_of(uri: str, experiment: str) -> list[Any]:
    """The runs of an experiment as MLflow has them, in the order in which they were started."""
    from analysis.results.mlflow_names import open_client

    client = open_client(uri)
    number = client.get_experiment_by_name(experiment).experiment_id
    return list(client.search_runs([number], order_by=["attributes.start_time"]))


def look(pages: Pages, runs: Sequence[Any], take: Sequence[str] = NAMES) -> list[Path]:
    """Look at pages, each until it shows what it should; return their pictures.

    Args:
        pages: of the experiment.
        runs: all runs of it.
        take: which, of `NAMES`.

    Raises:
        AssertionError: a page does not show what it should.
    """
    replicates = [run for run in runs if run.data.tags.get("kind") == "replicate"]
    (report,) = [run for run in runs if run.data.tags.get("kind") == "report"]
    arms, ids = list(dict.fromkeys(run.data.tags["arm"] for run in replicates)), [run.info.run_id for run in replicates]
    score = next(
        tag.removeprefix("protocol.") for tag in sorted(replicates[0].data.tags) if tag.startswith("protocol.f")
    )
    shown: dict[str, Callable[[], None]] = {
        "charts": lambda: pages.charts(arms),
        "runs": lambda: pages.runs(arms),
        "video": lambda: pages.artifact(ids[0], "samples/grid.mp4", pages.plays),
        "report": lambda: pages.run(report.info.run_id, "Where it is"),  # a heading of its description
        "parallel": lambda: pages.parallel(ids, score),
        "compare": lambda: pages.compared(ids),
    }
    pictures = []
    for name in take:
        shown[name]()
        pictures.append(pages.picture(name))
    return pictures


def main(words: Sequence[str]) -> None:
    """Make the pictures of the documentation."""
    from experiments.plan.loading import load_plan

    words, take = list(words), NAMES
    if "--take" in words:
        at = words.index("--take")
        take = tuple(words[at + 1].split(","))
        del words[at : at + 2]
    at = words.index("--runs")
    plan = load_plan(Path(words[0]), words[1:at], Path(words[at + 1]))
    with tempfile.TemporaryDirectory() as made:
        uri = f"sqlite:///{made}/mlflow.db"
        with dashboard(*words, "--tracking-uri", uri) as address, chromium(Path(made) / "profile") as browser:
            for path in look(Pages(browser, address, PICTURES), runs_of(uri, plan.name), take):
                print(path, path.stat().st_size)


if __name__ == "__main__":
    main(sys.argv[1:])
