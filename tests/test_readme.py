"""What the README shows is what happens: its worked example of a part from outside, and its experiment file."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from registry.experiment.arms import resolve_experiment
from registry.experiment.experiment_file import load_experiment
from tests.cli.command import run

ROOT = Path(__file__).parent.parent
TINY = [
    *("seeds=[0]", "learning.steps=2", "learning.batch_size=2", "sampling.clips=4", "sampling.sampler.steps=2"),
    *("data.dataset.videos=10", "scoring.real_clips=8", "data.resolution=16", "model.width=16"),
    *("match=null", "claim=[]"),
]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """The README's part and experiment, as a user would put them into a folder of their own."""
    (part,) = [code for code in blocks("python") if "@part(" in code]
    (experiment,) = [text for text in blocks("yaml") if "plugins:" in text]
    (tmp_path / "my_parts.py").write_text(part)
    (tmp_path / "ramp.yaml").write_text(experiment)
    (tmp_path / "quickstart.yaml").write_text((ROOT / "experiments" / "quickstart.yaml").read_text())
    return tmp_path / "ramp.yaml"


def test_part_from_outside_trains_and_is_scored(example: Path) -> None:
    shown = run("launch", example.name, "--executor", "debug", *TINY, folder=example.parent)
    assert shown.code == 0, shown.err + shown.out
    table = run("table", example.name, *TINY, "--format", "csv", folder=example.parent)
    rows = [
        line
        for line in table.out.splitlines()
        if line.startswith(("temporal_position=ramp", '"temporal_position=ramp'))
    ]
    assert len(rows) == 1
    assert ",1,1," in rows[0]  # done, planned


def test_part_from_outside_is_held_to_its_types(example: Path) -> None:
    shown = run("check", example.name, "model.temporal_position={name: ramp, height: -1.0}", folder=example.parent)
    assert shown.code == 2
    assert "model.temporal_position.height: expected greater than 0" in shown.err
    assert "Traceback" not in shown.err
    misspelt = run("check", example.name, "model.temporal_position=ram", folder=example.parent)
    assert misspelt.code == 2
    assert "did you mean 'ramp'" in misspelt.err


def test_experiment_of_the_readme_resolves(tmp_path: Path) -> None:
    (text,) = [text for text in blocks("yaml") if "name: conditioning" in text]
    file = tmp_path / "conditioning.yaml"
    file.write_text(text)
    arms = [arm.name for arm in resolve_experiment(load_experiment(file))[0]]
    assert arms == ["baseline", "conditioning=all_tokens", "temporal_position=rotary"]


def test_experiment_of_its_page_resolves(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "experiment-files.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    file = tmp_path / "conditioning.yaml"
    file.write_text(text.replace("match: {parameters: 5%}", "#"))
    arms = [arm.name for arm in resolve_experiment(load_experiment(file))[0]]
    assert arms == ["baseline", "conditioning=all_tokens", "temporal_position=rotary", "flow"]


def test_parts_page_says_the_same_of_a_part_from_outside() -> None:
    """One worked example, in two places."""
    page = (ROOT / "docs" / "parts.md").read_text(encoding="utf-8")
    for language, mark in (("python", "@part("), ("yaml", "plugins:")):
        (shown,) = [text for text in blocks(language) if mark in text]
        assert shown in page


def test_what_it_says_of_activating_and_completing() -> None:
    """The commands behind `make env` as they stand, in a shell whose PATH has no other installation."""
    (said,) = [text for text in blocks("bash") if "bin/activate" in text]
    lines = [line.split("  #")[0].strip() for line in said.splitlines() if not line.startswith("make ")]
    environment = str(Path(sys.executable).parent)  # the tests' own stands for .venv
    script = (
        "\n".join(lines).replace(".venv/bin", environment)
        + """
command -v latte-workbench
complete -p latte-workbench
COMP_WORDS=(latte-workbench check FILE learning.st) COMP_CWORD=3
_latte_workbench_completion latte-workbench 2>/dev/null  # compopt knows no completion that is going on
echo "${COMPREPLY[@]}"
"""
    )
    done = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    found, completion, words = done.stdout.splitlines()
    assert found == f"{environment}/latte-workbench"
    assert "_latte_workbench_completion" in completion
    assert words == "learning.steps="
