"""A screen that trains: arms pause, stop and go on, wherever its controller was killed, and end as undisturbed ones."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from experiments.launch import in_process, launching
from experiments.launch.launching import launch_all, make_run_folders
from experiments.plan.loading import load_plan
from experiments.plan.plan import Plan
from experiments.plan.screening import rungs_folder
from experiments.record.lease import leased
from experiments.record.recording import Recorder, desire, open_again
from experiments.search import screening
from experiments.search.halving import Standing
from experiments.search.screening import Rungs, launch_screened
from experiments.search.watched import CONTROLLERS, Watching
from registry.errors import RunError, SpecError
from registry.runs.records import State
from registry.runs.replicate import Replicate
from tests.experiments.search import screened_toys
from tests.experiments.search.screened_toys import (
    Fuse,
    Killed,
    deaths_until_done,
    failing,
    of,
    records,
    states_of,
    unwatched,
)
from tests.fixtures.toy_replicates import nothing

SCREEN = "screen: {rungs: [3, 6], keep: 0.5}"


def screened(folder: Path, *overrides: str, only: Sequence[str] = ()) -> Plan:
    return screened_toys.screened(folder, SCREEN, *overrides, only=only)


def run(plan: Plan) -> list[str]:
    said: list[str] = []
    launch_screened(plan, "debug", Watching(nothing, unwatched, said.append))
    return said


def reason_of(plan: Plan, arm: str) -> str:
    desired = of(plan, arm).desired()
    return desired.reason if desired else ""


def steps_of(replicate: Replicate) -> list[int]:
    return [line["step"] for line in replicate.metrics() if "validation_loss" in line]


def loss_at(replicate: Replicate, step: int) -> float:
    return float(
        next(
            line.get("raw_validation_loss", line["validation_loss"])
            for line in replicate.metrics()
            if line["step"] == step and "validation_loss" in line
        )
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """The same arms without a screen."""
    plan = screened(tmp_path_factory.mktemp("undisturbed"), "screen=null")
    launch_all(plan, "debug", nothing, unwatched)
    return plan


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, list[str]]:
    plan = screened(tmp_path_factory.mktemp("screened"))
    return plan, run(plan)


def test_the_best_half_goes_on_from_each_rung(finished: tuple[Plan, list[str]], undisturbed: Plan) -> None:
    plan, said = finished
    cuts = records(plan)
    assert [(made["step"], len(made["values"]), len(made["kept"])) for made in cuts] == [(3, 4, 2), (6, 2, 1)]
    names = {arm.identity: arm.name for arm in plan.arms}
    for made in cuts:
        losses = {
            names[identity]: loss_at(of(undisturbed, names[identity]), made["step"]) for identity in made["values"]
        }
        assert {names[identity]: value for identity, value in made["values"].items()} == losses
        best = sorted(losses, key=lambda arm: losses[arm])
        assert [names[identity] for identity in made["kept"]] == best[: len(made["kept"])]
    winner = names[cuts[1]["kept"][0]]
    assert winner == "fast"
    assert states_of(plan) == {arm: "done" if arm == winner else "stopped" for arm in states_of(plan)}
    reasons = {arm: reason_of(plan, arm) for arm in states_of(plan) if arm != winner}
    assert sorted(reasons.values()) == [
        "screened out at step 3, 3rd of 4",
        "screened out at step 3, 4th of 4",
        "screened out at step 6, 2nd of 2",
    ]
    assert len(said) == 2
    assert said[0].startswith("screen: at step 3 2 of 4 arms go on: fast, ")


def test_pausing_and_going_on_is_exact(finished: tuple[Plan, list[str]], undisturbed: Plan) -> None:
    plan, _ = finished
    result, whole = of(plan, "fast").result(), of(undisturbed, "fast").result()
    assert result is not None
    assert whole is not None
    assert result.scores == whole.scores
    assert result.attempts == 3
    assert steps_of(of(plan, "fast")) == [3, 6, 9]
    assert [event.event for event in of(plan, "fast").events()] == [
        "started", "paused", "started", "paused", "started", "done",
    ]  # fmt: skip
    third = next(arm for arm in states_of(plan) if reason_of(plan, arm).endswith("3rd of 4"))
    assert steps_of(of(plan, third)) == [3], "who is out runs no further"


def test_again_nothing_happens(finished: tuple[Plan, list[str]]) -> None:
    plan, _ = finished
    before = {path: path.stat().st_mtime_ns for path in plan.folder.glob("*/seed-0/**/*") if path.name != "spec.yaml"}
    assert run(plan) == []
    after = {path: path.stat().st_mtime_ns for path in plan.folder.glob("*/seed-0/**/*") if path.name != "spec.yaml"}
    assert {path for path in after if after[path] != before.get(path) and path.is_file()} == set()


def test_other_rungs_are_another_screen(finished: tuple[Plan, list[str]]) -> None:
    plan, _ = finished
    for change in ("screen.keep=0.3", "screen.rungs=[6]", "screen.metric=validation_loss_band_0"):
        with pytest.raises(SpecError, match="rung 1 was decided with step 3"):
            run(load_plan(plan.file.path, [change], plan.runs))


def test_a_controller_killed_at_every_wish_ends_as_undisturbed(
    finished: tuple[Plan, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, fuse = screened(tmp_path), Fuse()
    wished, started = desire, in_process.run_training

    def wish(*words: Any, **more: Any) -> None:
        wished(*words, **more)
        fuse.burn()

    def start(*words: Any) -> list[Any]:
        fuse.burn()
        return started(*words)

    monkeypatch.setattr(screening, "desire", wish)
    monkeypatch.setattr(launching, "desire", wish)
    monkeypatch.setattr(in_process, "run_training", start)
    deaths = deaths_until_done(lambda: run(plan), fuse)
    assert deaths > 3
    assert states_of(plan) == states_of(finished[0])
    assert records(plan) == records(finished[0])
    mine, theirs = of(plan, "fast"), of(finished[0], "fast")
    assert [len(replicate.attempts()) for replicate in plan.replicates] == [
        len(replicate.attempts()) for replicate in finished[0].replicates
    ]
    results = mine.result(), theirs.result()
    assert results[0] is not None
    assert results[1] is not None
    assert results[0].scores == results[1].scores


def test_a_failed_arm_holds_nobody_up_and_is_judged_when_it_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = screened(tmp_path, "screen.rungs=[3]")

    with monkeypatch.context() as patched:
        patched.setattr(in_process, "run_training", failing(plan, "fast"))
        run(plan)
    assert states_of(plan)["fast"] == "failed"
    assert sorted(states_of(plan).values()) == ["done", "done", "failed", "stopped"]
    open_again(of(plan, "fast"))
    run(plan)
    assert sorted(states_of(plan).values()) == ["done", "done", "done", "stopped"]
    assert len(records(plan)) == 1, "what was decided stays"


def test_arms_that_come_to_the_rung_during_a_look_are_judged_at_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, fuse = screened(tmp_path, "screen.rungs=[3]"), Fuse()
    with monkeypatch.context() as patched:
        patched.setattr(Rungs, "write", lambda *_: fuse.burn())
        with pytest.raises(Killed):
            run(plan)
    assert set(states_of(plan).values()) == {"paused"}
    seen, looked = screening.states, screening.standings
    looks = iter(["the first"])

    def running_at_first(todo: Sequence[Replicate], *words: Any) -> list[State]:
        return [State.RUNNING] * len(todo) if not begun else seen(todo, *words)

    def nothing_at_first(todo: Any, now: Any, metric: str) -> Any:
        begun.append(True)
        return dict.fromkeys(todo, Standing({}, True)) if next(looks, None) else looked(todo, now, metric)

    begun: list[bool] = []
    monkeypatch.setattr(screening, "states", running_at_first)
    monkeypatch.setattr(screening, "standings", nothing_at_first)
    run(plan)
    assert sorted(states_of(plan).values()) == ["done", "done", "stopped", "stopped"]


def test_two_screens_at_once_are_refused(tmp_path: Path) -> None:
    plan = screened(tmp_path)
    folder = rungs_folder(plan).parent / CONTROLLERS
    with leased(folder, patience=0), pytest.raises(RunError, match="is at work there"):
        run(plan)


def test_what_a_person_cancelled_stays_cancelled(tmp_path: Path) -> None:
    plan = screened(tmp_path, "screen.rungs=[3]")
    todo: Sequence[Replicate] = make_run_folders(plan, {})
    for replicate in todo:
        if replicate.arm == "slow":
            desire(replicate, "cancel", reason="by hand")
    run(plan)
    assert states_of(plan)["slow"] == "cancelled"
    assert len(records(plan)[0]["values"]) == 3


def test_the_race_is_over_all_arms_whatever_is_selected(tmp_path: Path, finished: tuple[Plan, list[str]]) -> None:
    said = run(screened(tmp_path, only=["fast", "slow"]))
    assert said == [
        "screen: the race is between all arms of the file: those that are at step 3 wait for baseline, late; "
        "launch these as well"
    ]
    plan = screened(tmp_path)
    assert records(plan) == [], "nothing is decided on a part of the arms"
    assert states_of(plan) == {"baseline": "missing", "fast": "paused", "slow": "paused", "late": "missing"}
    assert not of(plan, "late").folder.exists()
    said = run(screened(tmp_path, only=["baseline", "late"]))
    assert said[0] == finished[1][0], "they had been waited for"
    assert records(plan)[0] == records(finished[0])[0]
    assert states_of(plan)["slow"] == "stopped", "an arm that was not selected is told, too"
    run(plan)
    assert records(plan) == records(finished[0])
    assert states_of(plan) == states_of(finished[0])


def test_an_arm_that_failed_is_not_waited_for_by_those_selected(tmp_path: Path) -> None:
    plan = screened(tmp_path, "screen.rungs=[3]")
    make_run_folders(plan, {})
    for arm in ("baseline", "late"):
        Recorder(of(plan, arm).training).event("failed", error="a cosmic ray")
    run(screened(tmp_path, "screen.rungs=[3]", only=["fast", "slow"]))
    assert states_of(plan) == {"baseline": "failed", "fast": "done", "slow": "stopped", "late": "failed"}
