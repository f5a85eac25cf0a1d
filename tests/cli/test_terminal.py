"""What reaches the terminal: any encoding, readers that go away, logs with escape sequences; and the words of verbs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.plan.loading import load_plan
from registry.schema.claim import Claim
from tests.cli.command import ROOT, STARTED, run
from tests.fixtures.toy_replicates import write

CLEAR_AND_TITLE = "\x1b[2J\x1b[H\x1b]0;owned\x07"


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_what_an_encoding_lacks_is_replaced(tmp_path: Path, encoding: str) -> None:
    path = write(tmp_path)
    for words in (("parts",), ("verdict", path, "--runs", tmp_path), ("table", path, "--runs", tmp_path), ("--help",)):
        told = run(*words, PYTHONIOENCODING=encoding)
        assert told.code == 0, told
        assert told.out
        assert told.err == ""
    told = run("check", tmp_path / "ü\u2192.yaml", PYTHONIOENCODING=encoding)
    assert (told.code, told.out) == (2, "")
    assert "no such file" in told.err


def test_the_locale_of_a_batch_job(tmp_path: Path) -> None:
    told = run("verdict", write(tmp_path), "--runs", tmp_path / "runs", LC_ALL="C", PYTHONUTF8="0")
    assert told.code == 0, told
    assert "variant_1 better than variant_4" in told.out


@pytest.mark.parametrize("words", [("parts",), ("parts", "--format", "json"), ("--help",), ("table", "FILE")])
def test_a_reader_that_goes_away_is_no_error(tmp_path: Path, words: tuple[str, ...]) -> None:
    given = [str(write(tmp_path)) if word == "FILE" else word for word in words]
    command = [sys.executable, str(ROOT / "run.py"), *given]
    verb = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert verb.stdout is not None
    assert verb.stderr is not None
    verb.stdout.close()
    assert verb.stderr.read() == b""
    assert verb.wait() == 1
    verb.stderr.close()


def test_hints_are_as_the_command_was_started(tmp_path: Path) -> None:
    scripts = Path(sys.executable).parent
    started = {
        (str(scripts / "python"), "run.py"): f"{scripts}/python run.py",
        (str(scripts / "python"), "-X", "utf8", str(ROOT / "run.py")): f"{scripts}/python -X utf8 {ROOT}/run.py",
        (str(scripts / "latte-workbench"),): f"{scripts}/latte-workbench",
        ("latte-workbench",): "latte-workbench",
    }
    others = os.pathsep.join(place for place in os.environ["PATH"].split(os.pathsep) if Path(place) != scripts)
    for words, shown in started.items():
        path = f"{scripts}{os.pathsep}{others}" if words == ("latte-workbench",) else others  # as if not activated
        environment = os.environ | {"PATH": path}
        command = [*words, "parts", "--slot", "blocks"]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == f"next: {shown} check experiments/quickstart.yaml"
    told = run("score", tmp_path, "--against", tmp_path, "detector=i3d", XDG_CACHE_HOME=str(tmp_path))
    assert f"run `{STARTED} fetch-weights i3d`" in told.err


@pytest.mark.parametrize(
    ("words", "number", "suggested"),
    [
        ("run.py ch", 1, {"check", "checkpoint"}),
        ("run.py check FILE learning.st", 3, {"learning.steps="}),
        ("run.py check FILE sampling.sampler.et", 3, {"sampling.sampler.eta="}),
        ("run.py check FILE data.picking=l", 3, {"data.picking=linspace"}),
        ("run.py check FILE data.picking =", 4, {"stride", "linspace"}),  # as bash cuts it
        ("run.py check FILE model.blocks = variant", 5, {"variant_1", "variant_2", "variant_3", "variant_4"}),
        ("run.py check FILE runtime.compile=", 3, {"runtime.compile=true", "runtime.compile=false"}),
        ("run.py score A --against B detector.wi", 5, {"detector.width="}),
        ("run.py parts --slot temp", 3, {"temporal_position"}),
        ("run.py keys clai", 2, {"claim", *(f"claim.{key}" for key in Claim.model_fields)}),
        ("run.py protocol show la", 3, {"latte_compatible"}),
        ("run.py check FILE no_such_key", 3, set()),
    ],
)
def test_what_the_shell_completes(words: str, number: int, suggested: set[str]) -> None:
    told = run(_RUN_PY_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(number))
    assert told.code == 0, told
    found = dict(line.split(",")[::-1] for line in told.out.splitlines())
    assert {value for value, kind in found.items() if kind == "plain"} == suggested
    assert "Traceback" not in told.err


def test_bash_puts_no_blank_behind_a_key() -> None:
    told = run(_RUN_PY_COMPLETE="bash_source")
    assert "[[ $value == *= ]] && compopt -o nospace" in told.out


def log_of(folder: Path, content: str) -> Path:
    """The toy experiment with a log of its first replicate; the experiment file."""
    path = write(folder)
    own = load_plan(path, runs=folder / "runs").replicates[0].training
    own.mkdir(parents=True, exist_ok=True)
    (own / "log.txt").write_text(content)
    return path


def test_escape_sequences_of_a_log_are_shown_and_not_obeyed(tmp_path: Path) -> None:
    path = log_of(tmp_path, f"first\n{CLEAR_AND_TITLE}done\u202e\x9b1m\n")
    for words in ((), ("--follow",)):
        told = run("logs", path, "--only", "baseline", "--seed", "0", "--runs", tmp_path / "runs", *words)
        assert told.code == 0, told
        assert r"\x1b[2J\x1b[H\x1b]0;owned\x07done\u202e\x9b1m" in told.out
        assert not set(told.out) & {"\x1b", "\x07", "\x9b", "\u202e"}


def test_lines_of_a_log(tmp_path: Path) -> None:
    path = log_of(tmp_path, "".join(f"line {number}\n" for number in range(100_000)))
    words = (path, "--only", "baseline", "--runs", tmp_path / "runs")
    told = run("logs", *words, "--seed", "0", "--lines", "2").out.splitlines()
    assert told[0].startswith("== baseline seed 0 (")
    assert told[1:3] == ["  line 99998", "  line 99999"]
    assert told[3].startswith("next: ")
    told = run("logs", *words, "--lines", "0").out.splitlines()
    assert [line[:18] for line in told[:2]] == ["== baseline seed 0", "== baseline seed 1"]
    assert told[1].endswith(": no log")
    assert len(told) == 3
    told = run("logs", *words, "--seed", "0", "--lines", "150000").out.splitlines()
    assert told[1:-1] == [f"  line {number}" for number in range(100_000)]
    assert run("logs", *words, "--lines", "-1").code == 2


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("logs", "--seed", "99"), "--seed 99: no replicate has that seed; there is 0, 1"),
        (("logs", "--seed", "99", "--follow"), "--seed 99: no replicate has that seed; there is 0, 1"),
        (("plan", "--only", "!*"), "no arm is left by --only '!*'"),
        (("launch", "--only", "b*", "--only", "!b*"), "no arm is left by --only 'b*' --only '!b*'"),
    ],
)
def test_what_selects_nothing_is_refused(tmp_path: Path, words: tuple[str, ...], line: str) -> None:
    verb, *options = words
    told = run(verb, write(tmp_path), *options, "--runs", tmp_path / "runs")
    assert (told.code, told.out, told.err) == (2, "", f"{line}\n")


def test_a_verdict_of_arms_that_no_claim_is_about(tmp_path: Path) -> None:
    path = write(tmp_path)
    told = run("verdict", path, "--only", "baseline", "--runs", tmp_path)
    assert told.code == 0, told
    assert "toy: --only leaves out arms of 1 claim" in told.out
    assert "toy: makes no claim; add `claim:" in run("verdict", path, "claim=[]", "--runs", tmp_path).out
