"""The examples of docs/extending.md, run as they stand there."""

import re
from pathlib import Path
from typing import Any

import pytest

from experiments.launch.executors import EXECUTORS
from experiments.plan.plan import load_plan
from experiments.search.workflow import launch
from registry.runs.machine import ROOT
from tests.fixtures.toy_replicates import TOY, plan_of, write

PAGE = ROOT / "docs" / "extending.md"


def code_of(section: str) -> str:
    """The Python of a section, its blocks one behind the other."""
    text = PAGE.read_text(encoding="utf-8")
    own = text[text.index(f"\n## {section}\n") + 1 :].partition("\n## ")[0]
    blocks = re.findall(r"^```python\n(.*?)^```$", own, flags=re.MULTILINE | re.DOTALL)
    assert blocks, section
    return "\n\n".join(blocks)


def names_of(section: str) -> dict[str, Any]:
    """What a section defines."""
    found: dict[str, Any] = {"__name__": __name__}
    exec(compile(code_of(section), str(PAGE), "exec"), found)
    return found


def test_an_executor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXECUTORS, "nice", None)  # type: ignore[arg-type]  # what the page assigns is taken back
    names_of("An executor")
    plan = plan_of(tmp_path, "floors=[]", "seeds=[0]")
    outcome = launch(plan, "nice")
    assert outcome.unfinished == []
    assert outcome.launched.submitted == [replicate.name for replicate in plan.replicates]
    assert all("done:" in (replicate.training / "log.txt").read_text() for replicate in plan.replicates)


def test_a_policy(tmp_path: Path) -> None:
    path = write(tmp_path, TOY.replace("seeds: [0, 1]", "seeds: [0, 1, 2]\nfloors: []"))
    run_until_known, runs = names_of("A policy")["run_until_known"], tmp_path / "runs"

    def seeds_done() -> list[int]:
        return [replicate.seed for replicate in load_plan(path, runs=runs).replicates if replicate.state == "done"]

    run_until_known(path, runs, "debug", "fvd[moving_shapes_r3d]", 1e9)
    assert seeds_done() == [0, 1, 0, 1]
    run_until_known(path, runs, "debug", "fvd[moving_shapes_r3d]", 0.0)
    assert seeds_done() == [0, 1, 2, 0, 1, 2]
