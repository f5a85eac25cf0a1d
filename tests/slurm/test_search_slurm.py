"""Searches and screens whose replicates are Slurm jobs, watched by a controller that is killed in the middle."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from experiments.launch.executor import ExecutorOptions
from experiments.launch.executors import opened
from experiments.launch.launching import make_run_folders, stop_for_good
from experiments.launch.preparing import bind_replicates, prepare_data
from experiments.plan.loading import load_plan
from registry.runs.replicate import Replicate
from tests.cli import command
from tests.cli.command import Begun, run
from tests.fixtures.toy_replicates import TOY, nothing
from tests.slurm.clusters import Cluster
from tests.waiting import until

NOWHERE = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
BASE = TOY[: TOY.index("ablate:")] + "seeds: [0]\nfloors: []\nresources: {memory: 1G, time: 10m}\n"
SEARCH = """
search:
  space: {learning.learning_rate: {low: 1e-4, high: 1e-2, log: true}}
  sampler: random
  trials: 3
  parallel: 2
"""
UNTIL_DECIDED = """
arms: {slow: {learning.learning_rate: 1e-5}}
claim: {axis: arms, better: baseline, worse: slow, metric: validation_loss}
"""
SCREEN = """
arms: {fast: {learning.learning_rate: 5e-3}, slow: {learning.learning_rate: 1e-5}}
screen: {rungs: [3], keep: 0.6}
"""


def begin(folder: Path, verb: str, *overrides: str) -> Begun:
    """A verb on the folder's experiment, on Slurm, in the background, with no tracking server to wait for."""
    words = [verb, folder / "toy.yaml", *overrides, "--executor", "slurm", "--runs", folder / "runs"]
    return command.begin(*words, **NOWHERE)


def refused(process: Begun, code: int = 1) -> str:
    told = process.told()
    assert told.code == code, told
    return told.err


def scripts(folder: Path, verb: str = "") -> list[Path]:
    """The batch scripts that were submitted: of a verb, or of arrays and single replicates."""
    found = sorted(folder.glob("runs/toy/_launches/*/[0-9]*_submission.sh"))
    return [
        path for path in found if re.search(rf"--job-name=toy{f'-{verb}' if verb else ''}$", path.read_text(), re.M)
    ]


def finish(process: Begun) -> str:
    told = process.told()
    assert told.code == 0, told
    return told.out


def numbered(folder: Path, what: str) -> dict[str, list[dict[str, Any]]]:
    """The attempts or submissions by arm."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(folder.glob(f"runs/toy/*/seed-0/training/{what}/*.json")):
        found.setdefault(path.parents[3].name, []).append(json.loads(path.read_text()))
    return found


@pytest.mark.slow
def test_a_search_whose_controller_is_killed(slurm: Cluster, tmp_path: Path) -> None:
    (tmp_path / "toy.yaml").write_text(BASE + SEARCH, encoding="utf-8")
    words = ["learning.steps=300", "runtime.validate_every=100", "runtime.checkpoint_every=50"]
    search = begin(tmp_path, "search", *words)
    until(lambda: len(numbered(tmp_path, "attempts")) >= 2, "two trials run", search)
    search.kill()
    out = finish(begin(tmp_path, "search", *words))
    assert "best: trial-" in out
    attempts, submissions = numbered(tmp_path, "attempts"), numbered(tmp_path, "submissions")
    assert {arm: len(made) for arm, made in attempts.items()} == dict.fromkeys(attempts, 1)
    assert {arm: len(made) for arm, made in submissions.items()} == dict.fromkeys(attempts, 1)
    assert len(attempts) == 3
    assert len({made[0]["job"] for made in attempts.values()}) == 3
    assert all(made[0]["job"] == submissions[arm][0]["job"] for arm, made in attempts.items())
    journal = (tmp_path / "runs" / "toy" / "search" / "journal.log").read_text()
    lines = [json.loads(line) for line in journal.splitlines()]
    assert Counter(line["trial_id"] for line in lines if line["op_code"] == 6) == Counter(range(3))


@pytest.mark.slow
def test_seeds_are_added_by_a_controller_that_is_killed(slurm: Cluster, tmp_path: Path) -> None:
    text = BASE.replace("seeds: [0]", "seeds: {first: 2, most: 5}") + UNTIL_DECIDED
    (tmp_path / "toy.yaml").write_text(text, encoding="utf-8")
    decisions = tmp_path / "runs" / "toy" / "seeds"
    launch = begin(tmp_path, "launch")
    until(lambda: (decisions / "0001.json").exists(), "the first look is taken", launch)
    launch.kill()
    first = (decisions / "0001.json").read_bytes()
    out = finish(begin(tmp_path, "launch"))
    assert "baseline better than slow: supported" in out
    assert (decisions / "0001.json").read_bytes() == first
    last = json.loads(sorted(decisions.glob("0*.json"))[-1].read_text())
    (claim,) = last["claims"]
    assert (claim["stage"], claim["seeds"]) == ("decided", max(last["given"].values()))
    assert 2 < claim["seeds"] <= 5
    plan = load_plan(tmp_path / "toy.yaml", (), tmp_path / "runs")
    assert {replicate.state for replicate in plan.replicates} == {"done"}
    assert len(plan.replicates) == 2 * claim["seeds"]
    assert {len(list((one.training / "submissions").glob("*.json"))) for one in plan.replicates} == {1}
    (frozen,) = {path.read_text() for path in tmp_path.glob("runs/toy/_launches/*/toy.yaml")}
    assert "most: 5" in frozen


@pytest.mark.slow
def test_a_screen_whose_controller_is_killed(slurm: Cluster, tmp_path: Path) -> None:
    (tmp_path / "toy.yaml").write_text(BASE + SCREEN, encoding="utf-8")
    launch = begin(tmp_path, "launch")
    until(lambda: len(numbered(tmp_path, "submissions")) == 3, "three are submitted", launch)
    launch.kill()
    out = finish(begin(tmp_path, "launch"))
    assert "screen: at step 3 2 of 3 arms go on: fast, baseline" in out
    plan = load_plan(tmp_path / "toy.yaml", (), tmp_path / "runs")
    states = {replicate.arm: replicate.state for replicate in plan.replicates}
    assert states == {"baseline": "done", "fast": "done", "slow": "stopped"}
    told = {replicate.arm: [event.event for event in replicate.events()] for replicate in plan.replicates}
    assert told == {
        "baseline": ["started", "paused", "started", "done"],
        "fast": ["started", "paused", "started", "done"],
        "slow": ["started", "paused"],
    }


def test_what_is_stopped_for_good_leaves_the_queue(
    fake_slurm: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = BASE.replace("resources: {", "resources: {parallel: 1, ") + SCREEN[: SCREEN.index("screen")]
    (tmp_path / "toy.yaml").write_text(text, encoding="utf-8")
    long = ["learning.steps=100000", "runtime.checkpoint_every=20"]
    finish(begin(tmp_path, "launch", *long))
    plan = load_plan(tmp_path / "toy.yaml", long, tmp_path / "runs")
    todo = plan.replicates

    def running() -> list[Replicate]:
        return [replicate for replicate in todo if replicate.state == "running" and replicate.checkpoints()]

    until(running, "one of the three trains")
    (first,) = running()
    waiting = [replicate for replicate in todo if replicate.folder != first.folder]
    with opened(plan, "slurm", ExecutorOptions()) as executor:
        stop_for_good(todo, "no longer wanted", executor)
    until(lambda: first.state == "stopped", "the one that ran has seen it")
    assert [replicate.state for replicate in waiting] == ["stopped", "stopped"]
    assert [replicate.attempts() for replicate in waiting] == [[], []], "they left the queue and never began"
    assert (first.checkpoints()[-1].stat().st_size) > 0
    assert first.events()[-1].event == "stopped"
    assert first.events()[-1].reason.startswith("no longer wanted")


@pytest.mark.slow
def test_a_search_has_its_data_prepared_by_jobs(fake_slurm: Cluster, tmp_path: Path) -> None:
    kinds = "search.space={data.flip: [0.0, 0.5], learning.learning_rate: [1e-3, 2e-3, 3e-3]}"
    (tmp_path / "toy.yaml").write_text(BASE + SEARCH, encoding="utf-8")
    words = [kinds, "search.objective=fvd", "search.trials=4", "search.parallel=4"]
    words += ["data.dataset.classes=4", "model.classes=4"]  # of fewer directions no mirror image is one of them
    finish(begin(tmp_path, "search", *words))
    attempts = numbered(tmp_path, "attempts")
    assert {len(made) for made in attempts.values()} == {1}
    assert len(scripts(tmp_path, "prepare")) == 2, "one for each kind of data, however many trials it has"
    logs = sorted(tmp_path.glob("runs/toy/_launches/*/prepare*.txt"))
    assert [(log.name, log.read_text().count("wrote ")) for log in logs] == [("prepare-2.txt", 1), ("prepare.txt", 1)]
    finish(begin(tmp_path, "search", *words, "search.trials=5"))
    assert len(scripts(tmp_path, "prepare")) == 2, "what is known of the data is not made out again"


def no_videos(folder: Path) -> list[str]:
    (folder / "videos").mkdir()
    return ["data.dataset=video_folder", f"data.path={folder / 'videos'}", "model.classes=0"]


@pytest.mark.parametrize(("verb", "text"), [("launch", SCREEN), ("search", SEARCH)])
def test_data_that_cannot_be_prepared_end_the_command(
    fake_slurm: Cluster, tmp_path: Path, verb: str, text: str
) -> None:
    (tmp_path / "toy.yaml").write_text(BASE + text, encoding="utf-8")
    words = no_videos(tmp_path)
    err = refused(begin(tmp_path, verb, *words))
    assert "the job that prepares the data" in err
    assert "no readable video" in err
    assert len(scripts(tmp_path, "prepare")) == 1
    assert len(scripts(tmp_path)) <= 1, "nothing is submitted again and again"
    assert numbered(tmp_path, "attempts") == {}
    if verb == "search":
        journal = (tmp_path / "runs" / "toy" / "search" / "journal.log").read_text()
        assert not any(json.loads(line)["op_code"] == 6 for line in journal.splitlines()), "it is no trial's fault"


def test_what_fails_at_once_is_submitted_once(fake_slurm: Cluster, tmp_path: Path) -> None:
    (tmp_path / "toy.yaml").write_text(BASE + SCREEN, encoding="utf-8")
    plan = load_plan(tmp_path / "toy.yaml", (), tmp_path / "runs")
    make_run_folders(plan, {})
    bind_replicates(plan, prepare_data(plan, nothing))
    err = refused(begin(tmp_path, "launch", "runtime.device=cuda"))
    assert "3 of 3 replicates are not done" in err
    assert {arm: len(made) for arm, made in numbered(tmp_path, "submissions").items()} == {
        replicate.link.parent.name: 1 for replicate in plan.replicates
    }
    assert [replicate.state for replicate in plan.replicates] == ["failed"] * 3


@pytest.mark.parametrize(("verb", "text"), [("launch", SCREEN), ("search", SEARCH)])
def test_jobs_that_end_before_they_begin_are_not_submitted_for_ever(
    fake_slurm: Cluster, tmp_path: Path, verb: str, text: str
) -> None:
    (tmp_path / "toy.yaml").write_text(BASE + text, encoding="utf-8")
    broken = "resources={memory: 1G, time: 10m, setup: ['echo no such module; exit 3'], prepare: {setup: []}}"
    err = refused(begin(tmp_path, verb, broken, "runtime.attempts=2"))
    assert "2 jobs in a row ended before it began" in err
    assert max(len(made) for made in numbered(tmp_path, "submissions").values()) == 2
    assert numbered(tmp_path, "attempts") == {}


def test_a_trial_is_cancelled_by_its_folder(fake_slurm: Cluster, tmp_path: Path) -> None:
    (tmp_path / "toy.yaml").write_text(BASE + SEARCH, encoding="utf-8")
    words = ["learning.steps=100000", "search.trials=2", "runtime.checkpoint_every=50"]
    search = begin(tmp_path, "search", *words)
    until(lambda: len(numbered(tmp_path, "attempts")) >= 2, "two trials run", search)
    plan = [tmp_path / "toy.yaml", *words, "--runs", tmp_path / "runs"]
    shown = run("search", *plan, "--show").out
    job = next(iter(numbered(tmp_path, "attempts").values()))[0]["job"]
    assert job in shown
    assert "trial-0 was sent as" in shown
    told = run("cancel", *plan, "--folder", "trial-0-*")
    assert (told.code, "cancelled trial-0 seed 0" in told.out) == (0, True), told.err
    (events,) = tmp_path.glob("runs/toy/trial-0-*/seed-0/training/events.jsonl")
    until(lambda: '"event": "cancelled"' in events.read_text(), "the first trial has ended")
    assert run("cancel", *plan, "--folder", "trial-*").out.count("cancelled trial-") == 1
    told = search.told()
    assert told.out.count("was cancelled") >= 2, told
    wrong = run("cancel", *plan, "--folder", "trail-*")
    assert wrong.code == 2
    assert "no run folder in" in wrong.err
