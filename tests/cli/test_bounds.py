"""What is read is bounded before anything is built of it: one line each, exit code 2, in little time and memory."""

import os
from pathlib import Path

import pytest

from tests.cli.command import ROOT, Told, run
from tests.fixtures.toy_replicates import TOY, write

QUICKSTART = ROOT / "experiments" / "quickstart.yaml"


def refused(*words: object) -> list[str]:
    """The lines with which `check` refuses."""
    return _lines(run("check", *words))


def _lines(told: Told) -> list[str]:
    assert (told.code, told.out) == (2, ""), told
    assert "Traceback" not in told.err
    return told.err.splitlines()


def bomb(levels: int) -> str:
    """A list of lists of lists …, ten times ten times … values by aliases."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines)


DEEP = ":1: nested deeper than 100 lists and mappings"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param(bomb(9), ":1: more than 100,000 values, counted where aliases are used", id="alias bomb"),
        pytest.param("base: " + "[" * 100_000 + "]" * 100_000, DEEP, id="brackets"),
        pytest.param("[" * 100_000, DEEP, id="open brackets"),
        pytest.param("- " * 100_000, DEEP, id="dashes"),
        pytest.param("base: " + "[" * 2000 + "]" * 2000, DEEP, id="2,000 brackets"),
        pytest.param("a: &a [*a]", ":1: not valid YAML: an alias stands inside what it names", id="alias of itself"),
        pytest.param("about: " + "x" * 2**22, ": cannot be read: has more than 4 MiB", id="4 MiB"),
    ],
)
def test_a_file_that_is_more_than_a_spec(tmp_path: Path, text: str, told: str) -> None:
    path = write(tmp_path, text)
    assert refused(path) == [f"{path}{told}"]


def test_what_has_no_place_in_a_spec(tmp_path: Path) -> None:
    about = '!!python/object/apply:os.system ["touch here"]'
    path = write(tmp_path, TOY + f'about: {about}\nresources: {{partition: "a\\0b"}}\nsearch: {{[a]: 1}}\n')
    line = len(TOY.splitlines()) + 1
    assert refused(path) == [
        f"{path}:{line}: about: tags such as !!python/object/apply:os.system are not used here",
        f"{path}:{line + 1}: resources.partition: the control character '\\x00'",
        f"{path}:{line + 2}: search: expected a word as a key, got a list or a mapping",
        f"{path}:{line + 2}: search.space: missing; give it a value",
    ]


def test_what_is_not_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    assert refused(tmp_path / "pipe.yaml") == [f"{tmp_path / 'pipe.yaml'}: cannot be read: is not a file"]
    assert refused("/dev/zero") == ["/dev/zero: cannot be read: is not a file"]
    assert refused(tmp_path / ("n" * 300)) == [f"{tmp_path / ('n' * 300)}: cannot be read: File name too long"]
    (tmp_path / "pipe.yaml").unlink()
    (tmp_path / ".hidden.yaml").write_text("a: 1")
    assert refused(tmp_path / "nope.yaml") == [f"{tmp_path / 'nope.yaml'}: no such file"]


def test_numbers_far_beyond_any_use_are_refused_by_their_keys() -> None:
    large = {
        "model.width": 10**9, "model.depth": 10**4, "model.classes": 10**12, "model.patch": 10**9,
        "data.resolution": 10**9, "data.frames": 10**9, "data.interval": 10**9, "data.dataset.videos": 10**12,
        "data.dataset.length": 10**12, "diffusion.noise_schedule.steps": 10**9, "sampling.sampler.steps": 10**9,
        "sampling.clips": 10**12, "scoring.resolution": 10**5, "scoring.frames": 10**5, "scoring.real_clips": 10**12,
        "learning.batch_size": 10**12, "runtime.threads": 10**9, "resources.tasks_per_node": 10**6,
        "search.trials": 10**9,
    }  # fmt: skip
    words = [f"{key}={value}" for key, value in large.items()]
    lines = refused(QUICKSTART, "search.space={learning.steps: [1, 2]}", *words)
    for key, value in large.items():
        (line,) = [line for line in lines if f" {key}: expected " in line]
        assert line.startswith("command line: ")
        assert "less than or equal to " in line
        assert f"got {value} (int)" in line
    assert len(lines) == len(large), lines


def test_integers_of_more_than_64_bits() -> None:
    lines = refused(
        QUICKSTART, f"learning.steps={'9' * 5000}", f"learning.clip_from=0x{'f' * 5000}", f"seeds=[0, {2**64}, {2**63}]"
    )
    assert lines == [
        f"command line: learning.steps: {'9' * 60}… is an integer of more than 64 bits",
        f"command line: learning.clip_from: 0x{'f' * 58}… is an integer of more than 64 bits",
        f"command line: seeds.1: {2**64} is an integer of more than 64 bits",
        f"command line: seeds.2: {2**63} is an integer of more than 64 bits",
    ]


def test_numbers_are_finite() -> None:
    words = ("learning.learning_rate=1e999", "learning.optimiser.weight_decay=.inf", "sampling.sampler.eta=.nan")
    lines = refused(QUICKSTART, *words, "match.parameters=.nan", "resources.tflops=.inf")
    for key in (
        "learning.learning_rate",
        "learning.optimiser.weight_decay",
        "sampling.sampler.eta",
        "match.parameters",
    ):
        assert any(line.startswith(f"command line: {key}: expected a finite number, got ") for line in lines), lines
    assert len(lines) == 5
    assert refused(QUICKSTART, "match.macs=.inf", "match.parameters=null") == [
        "command line: match.macs: expected a finite number, got inf (float)"
    ]


@pytest.mark.parametrize("hours", ["nan", "inf"])
def test_a_limit_of_cost_that_limits_nothing(tmp_path: Path, hours: str) -> None:
    told = run("launch", QUICKSTART, "--max-gpu-hours", hours, "--dry-run", "--runs", tmp_path)
    assert told.code == 2
    assert f"{hours} is not a finite number." in told.err


def test_arms_and_replicates_are_counted_before_they_are_made(tmp_path: Path) -> None:
    values = [number / 1000 for number in range(1, 101)]
    keys = ("learning.learning_rate", "learning.ema_decay", "learning.clip_norm")
    grid = TOY.split("ablate:")[0] + "grid:\n" + "".join(f"  {key}: {values}\n" for key in keys)
    path = write(tmp_path, grid)
    line = len(grid.splitlines()) - 3
    assert refused(path) == [f"{path}:{line}: grid: makes 1,000,000 arms; 5,000 are the most"]
    path = write(tmp_path, TOY.replace("seeds: [0, 1]", f"seeds: {[*range(30_000)]}"))
    assert refused(path) == [f"{path}:18: seeds: 30,000 seeds of 2 arms make 60,000 replicates; 50,000 are the most"]


def test_names_that_no_folder_can_have(tmp_path: Path) -> None:
    long = "n" * 101
    lines = refused(write(tmp_path), f"name={long}", f"arms={{{long}: {{model.patch: 4}}}}")
    assert f"command line: name: expected at most 100 characters, got '{'n' * 59}… (str)" in lines
    assert f"command line: arms.{long}: a name of 101 characters; 100 are the most" in lines
    lines = refused(write(tmp_path), "data.dataset=video_folder", f"data.path={'p/' * 5000}")
    assert lines == [
        f"command line: data.path: {ROOT}/{'p/' * 5000}"[: len("command line: data.path: ") + 60]
        + "…: File name too long"
    ]


def test_a_resolution_that_no_machine_holds(tmp_path: Path) -> None:
    told = run("score", tmp_path, "--against", tmp_path, "resolution=100000", "--runs", tmp_path / "runs")
    assert _lines(told) == ["clean: resolution: expected less than or equal to 8192, got 100000 (int)"]
    told = run("score", tmp_path, "--against", tmp_path, "resolution=8192", "--runs", tmp_path / "runs")
    assert "clean: resolution: a clip of 16 frames of 8192 x 8192 has more than 268,435,456 pixels" in _lines(told)[0]
    assert not (tmp_path / "runs").exists()


def test_a_large_network_takes_no_memory_to_check(tmp_path: Path) -> None:
    """Its fixed tables of positions alone would have 200 GB in float64."""
    told = run("check", write(tmp_path), "model.width=65536", "data.resolution=2048", "data.autoencoder.factor=1",
               "data.frames=4", "--only", "baseline", "claim=[]")  # fmt: skip
    assert told.code == 0, told.err
