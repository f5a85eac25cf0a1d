"""docs/notebooks.md, what README and docs/results.md show of it: the Python works, on the quickstart at toy size."""

import re
from pathlib import Path

import pytest

from experiments.plan.loading import load_plan
from experiments.search import workflow
from registry.runs.machine import ROOT

NAMES = ("docs/notebooks.md", "README.md", "docs/results.md")
PAGE, README, RESULTS = ((ROOT / name).read_text(encoding="utf-8") for name in NAMES)
TOY = (
    "learning.steps=2", "sampling.clips=8", "sampling.sampler.steps=2", "scoring.real_clips=16", "seeds=[0, 1]",
    "match=null", "floors=[]", "data.dataset.videos=16",
)  # fmt: skip


def blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)


def test_the_page_works_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    monkeypatch.chdir(tmp_path)
    workflow.launch(load_plan(Path("experiments/quickstart.yaml"), TOY), "debug")
    code = blocks(PAGE)
    assert len(code) == 7
    names: dict[str, object] = {}
    for block in code:
        text = block.replace('"learning.steps": 4', f'{", ".join(map(_pair, TOY[:4]))}, "data.dataset.videos": 16')
        exec(text.replace(".launch()", '.launch(executor="debug")'), names)
    assert not getattr(names["network"], "training", True)
    shown = [own for own in blocks(README) if "analysis.load" in own or "from experiments import" in own]
    for block in (*shown, *blocks(RESULTS)):
        exec(block, names)
    assert str(getattr(names["e"], "overrides", ())[0]) == TOY[0]


def _pair(override: str) -> str:
    key, value = override.split("=")
    return f'"{key}": {value}'
