"""GPU-hours: by arithmetic, by steps measured now, by finished replicates; and the stop before a launch."""

from pathlib import Path

import pytest

from components.network_counts import NetworkCounts
from experiments.cli.plan_view import plan_totals
from experiments.cli.planning import arm_rows
from experiments.plan import costs
from experiments.plan.costs import Pace, cost, measure, refuse_above
from experiments.plan.plan import Plan
from experiments.plan.rows import paces, rows, totals, trainings
from experiments.record.recording import Recorder, create, desire
from registry.errors import SpecError
from registry.runs.records import Result
from registry.runs.replicate import Replicate
from registry.schema.resources import Resources, Shape
from tests.fixtures.toy_replicates import nothing, plan_of

MACS = NetworkCounts(parameters=0, paper_convention=0, per_clip=0, evaluated=1000, trained=3000)


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return plan_of(tmp_path, "seeds=[0,1,2]", "resources.tflops=1e-6")


def finish(replicate: Replicate) -> None:
    """Note a result of a replicate that trained for an hour and a half and was sampled for half an hour."""
    spec, times = replicate.spec, {"seconds": 7200.0, "seconds_of": {"training": 5400.0, "sampling": 1800.0}}
    own = {"identity": spec.identity, "training": spec.training, "evaluation": spec.evaluation, "seed": replicate.seed}
    Recorder(replicate.folder).result(Result(scores={}, step=6, steps=6, **own, **times))


def test_arithmetic_counts_training_and_sampling(plan: Plan) -> None:
    spec = plan.arms[0].spec
    found = cost("baseline", spec, Resources(tflops=1e-6), [], macs=MACS)
    # 6 FLOP a MAC of a sample, stills included, for 6 steps of 4 samples; 2 for each of 6 clips, every one asked twice.
    assert found.hours == pytest.approx((6 * 3000 * 6 * 4 + 2 * 1000 * 6 * 2) / 1e6 / 3600)
    assert found.how == "arithmetic"


def test_more_gpus_take_as_many_gpu_hours(plan: Plan) -> None:
    spec = plan.arms[0].spec
    one, eight = (cost("baseline", spec, Resources(gpus=gpus), [], MACS) for gpus in (1, 8))
    assert eight.gpu_hours == pytest.approx(one.gpu_hours)
    assert eight.hours == pytest.approx(one.hours / 8)
    measured = cost("baseline", spec, Resources(gpus=8), [], MACS, Pace(step=1.0, clip=10.0))
    assert measured.gpu_hours == pytest.approx((6 * 1.0 + 6 * 10.0) / 3600)
    assert measured.hours == pytest.approx(measured.gpu_hours / 8)
    cluster = cost("baseline", spec, Resources(), [], MACS, defaults=Shape(gpus=4))
    assert cluster.devices == 4


def test_finished_replicates_say_it_better(plan: Plan) -> None:
    first = plan.replicates[0]
    create(first, {})
    finish(first)
    row, other = rows(plan)
    assert (row["gpu_hours"], row["gpu_hours_left"], row["gpu_hours_from"]) == (6.0, 4.0, "finished")
    assert row["gpu_hours_of_training"] == 4.5
    assert other["gpu_hours_from"] == "arithmetic"
    assert other["gpu_hours"] == other["gpu_hours_left"] > 0


def test_going_back_to_a_step_costs_the_steps_from_the_checkpoint_before_it(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "seeds=[0]", "resources.tflops=1e-6", "sampling.step=4", only=["baseline"])
    replicate = plan.replicates[0]
    create(replicate, {})
    (row,) = rows(plan)
    evaluation = row["gpu_hours"] - row["gpu_hours_of_training"]
    assert row["gpu_hours_left"] == pytest.approx(row["gpu_hours"])
    folder = replicate.training / "checkpoints"
    folder.mkdir()
    for step, share in ((6, 1.0), (2, 0.5), (4, 0.0)):  # the last is behind the wanted one, which is gone
        (folder / f"step-{step:08d}.pt").touch()
        (row,) = rows(plan)
        assert row["gpu_hours_left"] == pytest.approx(evaluation + share * row["gpu_hours_of_training"], rel=1e-3)


@pytest.mark.parametrize(("first", "second"), [(2, 6), (6, 2)])
def test_a_training_of_arms_that_are_evaluated_at_different_steps_costs_as_much_as_the_longest(
    tmp_path: Path, first: int, second: int
) -> None:
    steps = (f"sampling.step={first}", f"ablate={{sampling.step: [{second}]}}", "claim=[]")
    plan = plan_of(tmp_path, "seeds=[0,1]", "resources.tflops=1e-6", *steps)
    arms = rows(plan)
    assert [row["evaluate_at"] for row in arms] == [[first], [second]]
    found = totals(arms, (shared := trainings([plan], arms)))
    assert [row["gpu_hours"] for row in shared] == [max(row["gpu_hours_of_training"] for row in arms)]
    assert found["left"] == pytest.approx(found["shared"], rel=1e-3)
    assert found["alone"] > found["shared"]


def test_files_that_evaluate_a_training_at_different_steps_count_it_to_the_last_of_them(tmp_path: Path) -> None:
    plans = [
        plan_of(tmp_path, f"name=at-{step}", f"sampling.step={step}", "ablate={}", "claim=[]", "resources.tflops=1e-6")
        for step in (2, 6, 4)
    ]
    arms = arm_rows(plans, measure=False, progress=nothing)
    alone = [row["gpu_hours_of_training"] for row in arms]
    left = [row["gpu_hours_left"] - (row["gpu_hours"] - row["gpu_hours_of_training"]) for row in arms]
    assert left == pytest.approx([alone[0], alone[1] - alone[0], 0.0], rel=1e-3, abs=1e-5)


def test_an_evaluation_that_is_added_to_a_finished_arm_costs_going_back_and_itself(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "seeds=[0]", only=["baseline"])
    create(plan.replicates[0], {})
    finish(plan.replicates[0])
    folder = plan.replicates[0].training / "checkpoints"
    folder.mkdir()
    (folder / "step-00000006.pt").touch()
    assert rows(plan)[0]["gpu_hours_left"] == 0
    for steps, hours in (("[4]", 0.5 + 4 / 6 * 1.5), ("[2, 4]", 2 * 0.5 + 4 / 6 * 1.5)):
        (row,) = rows(plan_of(tmp_path, "seeds=[0]", f"evaluate_at={steps}", only=["baseline"]))
        assert row["gpu_hours_left"] == pytest.approx(hours)
    (folder / "step-00000002.pt").touch()
    (row,) = rows(plan_of(tmp_path, "seeds=[0]", "evaluate_at=[2, 4]", only=["baseline"]))
    assert row["gpu_hours_left"] == pytest.approx(2 * 0.5 + 2 / 6 * 1.5)


def test_the_pace_is_measured_once_for_arms_that_cost_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "MEASURE_SECONDS", 0.02)
    plan = plan_of(
        tmp_path, "ablate={learning.learning_rate: [1e-3, 2e-3], model.blocks: [variant_1, variant_4]}", "claim=[]"
    )
    calls = []

    def counted(spec: object) -> Pace:
        calls.append(spec)
        return measure(spec)  # type: ignore[arg-type]

    monkeypatch.setattr("experiments.plan.rows.measure", counted)
    found = paces(plan, nothing)
    assert set(found) == {arm.name for arm in plan.arms}
    assert len(calls) == 2
    assert all(pace.step > 0 and pace.clip > 0 for pace in found.values())
    assert found["baseline"] == found["learning_rate=0.002"]
    assert {row["gpu_hours_from"] for row in rows(plan, found)} == {"measured"}
    assert not plan.runs.exists()


def test_too_dear_a_launch_is_refused_with_what_costs_most() -> None:
    made = [{"arm": "cheap", "gpu_hours_left": 1.0}, {"arm": "dear", "gpu_hours_left": 9.0}]
    refuse_above(made, 10.0)
    with pytest.raises(SpecError, match=r"costs about 10 GPU-hours \(the dearest arms: dear 9, cheap 1\)"):
        refuse_above(made, 9.99)
    with pytest.raises(SpecError, match=r"costs at most about 10 GPU-hours"):
        refuse_above(made, 9.99, at_most=True)


def test_what_a_screen_stopped_costs_no_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = plan_of(tmp_path, "seeds=[0,1]", "resources.tflops=1e-6", "screen={rungs: [3]}")
    create(plan.replicates[0], {})
    desire(plan.replicates[0], "stop", reason="screened out at step 3, 2nd of 2")
    row, other = rows(plan)
    assert row["gpu_hours_left"] == pytest.approx(row["gpu_hours"] / 2, rel=1e-3)
    assert other["gpu_hours_left"] == other["gpu_hours"]
    plan_totals([plan], [row, other], shared := trainings([plan], [row, other]), totals([row, other], shared))
    assert "at most: what the screen stops is counted to its end" in " ".join(capsys.readouterr().out.split())


def test_a_rung_that_is_the_arms_own_evaluation_costs_nothing_more(tmp_path: Path) -> None:
    tflops = "resources.tflops=1e-6"
    without, one, both = (
        rows(plan_of(tmp_path, tflops, *more))[0]["gpu_hours"]
        for more in ([], ["screen={rungs: [3], metric: fvd}"], ["screen={rungs: [3, 6], metric: fvd}"])
    )
    assert without < one == both


def test_guidance_doubles_the_sampling(plan: Plan) -> None:
    spec = plan.arms[0].spec
    guided = spec.model_copy(update={"sampling": spec.sampling.model_copy(update={"guidance": 2.0})})
    assert costs.evaluations(guided) == 2 * costs.evaluations(spec) == 4
