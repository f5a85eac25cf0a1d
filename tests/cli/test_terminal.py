"""What reaches the terminal: any encoding, readers that go away, logs with escape sequences; and the words of verbs."""

import subprocess
import sys
from pathlib import Path

import pytest

from experiments.plan.plan import load_plan
from tests.cli.command import ROOT, run
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
    assert told[2] == "  (no log)"
    assert len(told) == 4
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
