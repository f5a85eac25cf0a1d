"""What a programme costs: trainings that experiments share are counted once, and each way by its own assumptions."""

from pathlib import Path

import pytest

from components.network_counts import count_network
from experiments.plan.costs import cost
from experiments.plan.programme import early_share, programme, work_of
from registry.schema.resources import Resources
from tests.cli.command import run
from tests.fixtures.toy_replicates import plan_of, write


def test_shared_trainings_are_counted_once(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "seeds=[0,1,2]")
    single, double = work_of([plan]), work_of([plan, plan])
    assert single.alone == pytest.approx(single.shared)
    assert double.alone == pytest.approx(2 * single.alone)
    assert double.shared == pytest.approx(single.shared)
    assert double.evaluations == pytest.approx(2 * single.evaluations)
    by_hand = sum(
        cost(arm.name, arm.spec, Resources(tflops=1), [], count_network(arm.spec)).gpu_hours for arm in plan.arms
    )
    assert single.alone + single.evaluations == pytest.approx(3 * by_hand * 3.6e15)


@pytest.mark.parametrize(("first", "second"), [(2, 6), (6, 2)])
def test_a_shared_training_is_counted_to_the_last_step_that_an_arm_wants(
    tmp_path: Path, first: int, second: int
) -> None:
    given = (f"sampling.step={first}", f"ablate={{sampling.step: [{second}]}}", "claim=[]")
    longest = plan_of(tmp_path, "sampling.step=6", "ablate={}", "claim=[]")
    assert work_of([plan_of(tmp_path, *given)]).shared == pytest.approx(work_of([longest]).shared)


def test_each_way_costs_less_than_the_one_before(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "learning.steps=6000")
    found = {one.way: one.gpu_hours for one in programme([plan, plan])}
    official, alone, shared, early = found.values()
    assert official / alone == pytest.approx(120 / (1.54 * 6 * 1.8623 * 495 / 156))
    assert official > alone > shared > early
    assert programme([plan])[0].days(8) == pytest.approx(8 * programme([plan])[0].days(64))


def test_half_ending_at_a_quarter_and_at_half_of_the_steps_leaves_half_of_them() -> None:
    assert early_share() == pytest.approx(0.25 + 0.25 / 2 + 0.5 / 4)


def test_the_command_line_tells_it_where_it_is_asked(tmp_path: Path) -> None:
    file = write(tmp_path)
    given = ("plan", file, "--runs", tmp_path / "runs")
    assert "programme" not in run(*given, "--format", "json").json
    told = run(*given, "--programme", "--format", "json").json["programme"]
    assert [list(row) for row in told] == [["way", "gpu_hours", "basis", "days"]] * 4
    assert [list(row["days"]) for row in told] == [["8", "64"]] * 4
    table = run(*given, "--programme")
    assert table.code == 0, table.err
    assert "no GPU was measured here" in table.out
