"""The pages as a site: `mkdocs build --strict` warns of nothing, and every page stands in the navigation."""

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

from registry.runs.machine import ROOT

DOCS = ROOT / "docs"


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    page = (tmp_path / "site" / "python" / "index.html").read_text(encoding="utf-8")
    assert "main_effects" in page  # written from the docstrings


def test_every_page_is_in_the_index() -> None:
    linked = set(re.findall(r"\]\(([a-z-]+\.md)\)", (DOCS / "index.md").read_text(encoding="utf-8")))
    pages = {path.name for path in DOCS.glob("*.md")} - {"index.md"}
    assert linked == pages


def test_nothing_is_fetched_by_the_site() -> None:
    """The theme's fonts would come from elsewhere."""
    assert yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["theme"]["font"] is False


def test_files_that_the_readme_leads_to_are_there() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for place in re.findall(r"\]\(((?!http)[^)#]+)\)", readme):
        assert (ROOT / place).exists(), place
