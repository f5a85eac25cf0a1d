"""A screen by a score: arms are sampled cheaply at its rungs, and those that are kept end as undisturbed ones."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from experiments.launch import in_process
from experiments.launch.launching import launch_all
from experiments.plan.loading import load_plan
from experiments.plan.plan import Plan
from experiments.plan.reading import frame_of, ranks_of
from experiments.plan.rows import rows
from experiments.plan.screening import screen_plan
from experiments.record import recording
from experiments.record.recording import open_again
from experiments.search import scored_screening
from experiments.search.scored_screening import ScoredRace, launch_screened_by_score, next_of_screen
from experiments.search.watched import Watching
from registry.errors import RunError, SpecError
from tests.experiments.search import screened_toys
from tests.experiments.search.screened_toys import Fuse, deaths_until_done, failing, of, records, states_of, unwatched
from tests.fixtures.finished_runs import finish
from tests.fixtures.toy_replicates import nothing

CHEAPER = "{sampling.clips: 4, scoring.real_clips: 4, sampling.sampler.steps: 1, scoring.second_opinions: []}"
SCREEN = f"screen: {{rungs: [4, 9], keep: 0.5, metric: fvd, evaluation: {CHEAPER}}}"
RUNG = ("screen.rungs=[4]",)


def screened(folder: Path, *overrides: str, only: Sequence[str] = (), stage: str = "") -> Plan:
    return screened_toys.screened(folder, SCREEN, *overrides, only=only, stage=stage)


def run(plan: Plan) -> list[str]:
    said: list[str] = []
    launch_screened_by_score(plan, "debug", Watching(nothing, unwatched, said.append))
    return said


def scores_at(plan: Plan, step: int) -> dict[str, float]:
    """Arm -> its score at a rung, of those that were evaluated there."""
    found = {}
    for replicate in screen_plan(plan).replicates:
        if replicate.spec.step == step and (result := replicate.result()) is not None:
            found[replicate.arm.removesuffix(f" at step {step}")] = result.scores["fvd[moving_shapes_r3d]"]
    return found


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


def test_the_best_half_by_the_score_goes_on_from_each_rung(finished: tuple[Plan, list[str]]) -> None:
    plan, said = finished
    first, second = records(plan)
    names = {arm.identity: arm.name for arm in plan.arms}
    for made, arms in ((first, 4), (second, 2)):
        values = {names[identity]: value for identity, value in made["values"].items()}
        assert values == scores_at(plan, made["step"])
        assert len(values) == arms
        best = sorted(values, key=lambda arm, values=values: values[arm])  # type: ignore[misc]
        assert [names[identity] for identity in made["kept"]] == best[: arms // 2]
    assert first["evaluation"] == {
        "sampling.clips": 4, "scoring.real_clips": 4, "sampling.sampler.steps": 1, "scoring.second_opinions": [],
    }  # fmt: skip
    (winner,) = (names[identity] for identity in second["kept"])
    assert states_of(plan) == {arm: "done" if arm == winner else "stopped" for arm in states_of(plan)}
    reasons = [desired.reason for one in plan.replicates if (desired := one.desired()) and one.arm != winner]
    assert sorted(reasons) == [
        "screened out at step 4, 3rd of 4", "screened out at step 4, 4th of 4", "screened out at step 9, 2nd of 2",
    ]  # fmt: skip
    assert [line.split(":")[1].strip() for line in said] == [
        "at step 4 2 of 4 arms go on",
        "at step 9 1 of 2 arms go on",
    ]


def test_who_is_out_is_trained_no_further(finished: tuple[Plan, list[str]]) -> None:
    plan, _ = finished
    for replicate in plan.replicates:
        steps = max(int(path.stem.split("-")[1]) for path in replicate.checkpoints())
        reason = (desired.reason if (desired := replicate.desired()) else "") or "step 9"
        assert f"step {steps}" in reason


def test_an_arm_that_is_kept_ends_as_without_a_screen(finished: tuple[Plan, list[str]], undisturbed: Plan) -> None:
    plan, _ = finished
    (winner,) = (replicate for replicate in plan.replicates if replicate.state == "done")
    mine, theirs = winner.result(), of(undisturbed, winner.arm).result()
    assert mine is not None
    assert theirs is not None
    assert mine.scores == theirs.scores
    cheap = next(one for one in screen_plan(plan).replicates if one.arm == f"{winner.arm} at step 9").result()
    assert cheap is not None
    assert cheap.score_details["fvd[moving_shapes_r3d]"]["n_fake"] == 4
    assert mine.score_details["fvd[moving_shapes_r3d]"]["n_fake"] == 6


def test_again_nothing_happens(finished: tuple[Plan, list[str]]) -> None:
    plan, _ = finished
    before = records(plan), states_of(plan)
    assert run(plan) == []
    assert (records(plan), states_of(plan)) == before


def test_other_terms_are_another_screen(finished: tuple[Plan, list[str]]) -> None:
    plan, _ = finished
    for change in ("screen.keep=0.3", "screen.metric=kvd", "screen.evaluation={sampling.clips: 5}"):
        with pytest.raises(SpecError, match="rung 1 was decided with step 4"):
            run(load_plan(plan.file.path, [change], plan.runs))


def test_a_controller_killed_at_every_write_ends_as_undisturbed(
    finished: tuple[Plan, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, fuse = screened(tmp_path, *RUNG), Fuse()
    wished, started, stopping = recording.desire, in_process.run_training, scored_screening.stop_unbegun

    def wish(*words: Any, **more: Any) -> None:
        wished(*words, **more)
        fuse.burn()

    def stop(*words: Any) -> None:
        stopping(*words)
        fuse.burn()

    def start(*words: Any) -> list[Any]:
        fuse.burn()
        return started(*words)

    monkeypatch.setattr(recording, "desire", wish)
    monkeypatch.setattr(scored_screening, "stop_unbegun", stop)
    monkeypatch.setattr(in_process, "run_training", start)
    deaths = deaths_until_done(lambda: run(plan), fuse)
    assert deaths > 3
    assert records(plan) == records(finished[0])[:1]
    stopped = {one.arm for one in finished[0].replicates if (why := one.desired()) and "step 4" in why.reason}
    assert {arm for arm, state in states_of(plan).items() if state == "stopped"} == stopped
    assert {arm for arm, state in states_of(plan).items() if state == "done"} == set(states_of(plan)) - stopped


def test_a_failed_arm_holds_nobody_up_and_is_judged_when_it_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = screened(tmp_path, *RUNG)

    with monkeypatch.context() as patched:
        patched.setattr(in_process, "run_training", failing(plan, "fast"))
        run(plan)
    assert sorted(states_of(plan).values()) == ["done", "done", "missing", "stopped"]
    at_rung = screened(tmp_path, *RUNG, stage="screen")
    assert {one.arm: str(one.state) for one in at_rung.replicates}["fast at step 4"] == "failed"
    open_again(of(at_rung, "fast at step 4"))
    run(plan)
    assert len(records(plan)) == 1, "what was decided stays"
    assert sorted(states_of(plan).values()) in (
        ["done", "done", "done", "stopped"],
        ["done", "done", "stopped", "stopped"],
    )


def test_the_race_is_over_all_arms_whatever_is_selected(tmp_path: Path, finished: tuple[Plan, list[str]]) -> None:
    said = run(screened(tmp_path, only=["fast", "slow"]))
    assert said == ["screen: those that are at step 4 wait for baseline, late; launch these as well"]
    assert records(screened(tmp_path)) == []
    run(screened(tmp_path, only=["baseline", "late"]))
    plan = screened(tmp_path)
    assert records(plan)[0] == records(finished[0])[0]
    run(plan)
    assert records(plan) == records(finished[0])
    assert states_of(plan) == states_of(finished[0])


def test_what_comes_next_is_only_looked_at(tmp_path: Path) -> None:
    plan = screened(tmp_path)
    assert [arm.name for arm in next_of_screen(plan).selected] == [f"{arm.name} at step 4" for arm in plan.arms]
    assert not plan.runs.exists()
    with pytest.raises(RunError, match="toy-screen: nothing of it was begun"):
        screened(tmp_path, stage="screen")
    with pytest.raises(SpecError, match="no `screen` by a score"):
        screened(tmp_path, "screen=null", stage="screen")


def test_both_orders_are_shown_side_by_side(tmp_path: Path) -> None:
    plan = screened(tmp_path, "screen.keep=0.99")  # rounded up, that is every arm: a rehearsal
    run(plan)
    assert set(states_of(plan).values()) == {"done"}
    first, second = ranks_of(plan, frame_of(plan))
    full = {one.arm: result.scores["fvd[moving_shapes_r3d]"] for one in plan.replicates if (result := one.result())}
    order = " < ".join(sorted(full, key=full.__getitem__))
    for line, step in ((first, 4), (second, 9)):
        values = scores_at(plan, step)
        assert line.startswith(f"screen: at step {step} by fvd: {' < '.join(sorted(values, key=values.__getitem__))};")
        assert f"scored in full: {order} (rank correlation of the 4: " in line


def test_the_plan_counts_what_is_sampled_at_the_rungs(tmp_path: Path) -> None:
    tflops = "resources.tflops=1e-9"
    with_screen = rows(screened(tmp_path, tflops))[0]
    without = rows(screened(tmp_path, tflops, "screen=null"))[0]
    sampled = without["gpu_hours"] - without["gpu_hours_of_training"]
    told = with_screen["gpu_hours"] - with_screen["gpu_hours_of_training"]
    assert told / sampled == pytest.approx(1 + 2 * (4 * 1) / (6 * 2), rel=1e-3)  # clips times steps, at two rungs


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("screen.metric=fdv", "toy.yaml:17: screen.metric: no score 'fdv'; did you mean 'fvd'"),
        ("screen.rungs=[4, 10]", "10 is behind the end of training"),
        ("screen.evaluation={model.width: 8}", "screen.evaluation.model.width: expected a key of sampling or scoring"),
        ("screen.evaluation={sampling.step: 3}", "screen.evaluation.sampling.step: screen.rungs says at which steps"),
        ("screen.evaluation={scoring.protocol: demo}", "scoring.protocol: name what that protocol sets"),
        ("screen.evaluation={sampling.clisp: 3}", "arm baseline: screen.evaluation: sampling.clisp"),
        ("screen.metric=validation_loss", "nothing is sampled for it; name a score"),
        ("evaluate_at=[2]", "does not go with a screen"),
    ],
)
def test_what_is_wrong_is_told_before_anything_runs(tmp_path: Path, change: str, message: str) -> None:
    with pytest.raises(SpecError) as told:
        screened(tmp_path, change)
    assert message.split(": ", 1)[-1] in str(told.value)


def test_a_score_that_is_recorded_with_its_weights_is_found(tmp_path: Path) -> None:
    plan = screened(tmp_path, *RUNG)
    at_rung = {"fast": 3.0, "slow": 1.0, "late": 2.0, "baseline": 4.0}
    finish(screen_plan(plan), lambda own: {"fvd[i3d:3c1f09aa]": at_rung[own.arm.split(" ")[0]]})
    race = ScoredRace(plan, lambda said: None)
    race.score = ("fvd", "min")
    race.decide()
    names = {arm.identity: arm.name for arm in plan.arms}
    assert [names[own] for own in records(plan)[0]["kept"]] == ["slow", "late"]


def test_no_screen_goes_by_a_score_that_is_best_at_neither_end(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"screen\.metric: fvd_gap is best at neither end"):
        screened(tmp_path, "scoring.metrics=[fvd, fvd_test]", "screen.metric=fvd_gap")


def test_a_result_without_the_score_decides_nothing(tmp_path: Path) -> None:
    plan = screened(tmp_path, *RUNG)
    finish(screen_plan(plan), lambda own: {"validation_loss": 1.0})
    with pytest.raises(RunError, match=r"its result has no fvd\[moving_shapes_r3d\], by which arms are screened"):
        ScoredRace(plan, lambda said: None).decide()
    assert records(plan) == []
