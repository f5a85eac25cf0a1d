"""The picture of a report that README and docs/reports.md show: in the light and wide, and in the dark on a phone.

    python -m tests.browser.report_picture RUNS/quickstart/report/report.html

writes docs/report.png. The experiment is to be one whose models have learned.
"""

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

from registry.runs.machine import ROOT
from tests.fixtures.browser import DESKTOP, PHONE, chromium, look_at

PICTURE = ROOT / "docs" / "report.png"
COLOURS = 128  # of the picture, so that it is small
BETWEEN = 10  # pixels between both


def picture(page: Path) -> Image.Image:
    """Return both views of a page side by side, as tall as the phone's window.

    Args:
        page: a report.html.
    """
    with tempfile.TemporaryDirectory() as folder, chromium(Path(folder) / "profile") as browser:
        views = []
        for size, dark in ((DESKTOP, False), (PHONE, True)):
            look_at(browser, page, size, dark=dark)
            views.append(Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB"))
    height = min(view.height for view in views)
    made = Image.new("RGB", (sum(view.width for view in views) + BETWEEN, height), "#777777")
    made.paste(views[0].crop((0, 0, views[0].width, height)), (0, 0))
    made.paste(views[1].crop((0, 0, views[1].width, height)), (views[0].width + BETWEEN, 0))
    return made.resize((made.width * 3 // 4, made.height * 3 // 4)).quantize(COLOURS)


if __name__ == "__main__":
    picture(Path(sys.argv[1]).resolve()).save(PICTURE, optimize=True)
    print(f"wrote {PICTURE}")
