"""What fits the memory that is stated for jobs, and what is refused before it is queued."""

from pathlib import Path

import pytest

from experiments.plan.check import check
from experiments.plan.fitting import place_of
from experiments.plan.loading import load_plan
from experiments.plan.plan import Plan
from registry.errors import SpecError
from registry.schema.resources import Resources, Shape, bytes_of
from tests.cli.command import run
from tests.fixtures.writing import TOY, write


def plan_of(folder: Path, resources: str, *overrides: str) -> Plan:
    return load_plan(write(folder, TOY + f"resources: {resources}\n"), overrides)


def test_sizes_are_read_as_slurm_reads_them() -> None:
    assert [bytes_of(text) for text in ("80G", "500M", "2T", "7K", "100", "80GB")] == [
        80 * 2**30, 500 * 2**20, 2 * 2**40, 7 * 2**10, 100 * 2**20, 80 * 2**30,
    ]  # fmt: skip


def test_a_step_that_cannot_fit_is_refused_with_figures_and_what_to_do(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "{memory: 401M}", "base.learning.batch_size=512")
    with pytest.raises(SpecError) as error:
        check(plan)
    (line,) = error.value.problems
    assert "resources.memory: a training step needs about" in line
    assert "activations" in line
    assert "401M is stated" in line
    assert "runtime.precision=bf16 and runtime.checkpointing=true" in line


def test_what_fits_is_not_refused_nor_is_anything_where_nothing_is_stated(tmp_path: Path) -> None:
    assert check(plan_of(tmp_path, "{memory: 2G}"))
    assert check(plan_of(tmp_path, "{gpu_memory: 1M}"))  # it computes on no GPU
    assert check(plan_of(tmp_path, "{}", "base.learning.batch_size=512"))


def test_the_cluster_states_it_as_well(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "{}")
    check(plan, cluster=Shape(gpus=1, gpu_memory="1G"))
    with pytest.raises(SpecError, match=r"resources.gpu_memory: .* of a GPU"):
        check(plan, cluster=Shape(gpus=1, gpu_memory="100M"))


def test_processes_share_a_node_and_have_a_gpu_each(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "{}")
    plan.file.experiment.__dict__["resources"] = Resources(gpus=4, nodes=2, gpu_memory="80G")
    place = place_of(plan.arms[0], plan)
    assert (place.gpu, place.world, place.sharing, place.stated) == (True, 8, 1, "80G")
    plan.file.experiment.__dict__["resources"] = Resources(tasks_per_node=4, memory="64G")
    place = place_of(plan.arms[0], plan)
    assert (place.gpu, place.world, place.sharing, place.stated) == (False, 4, 4, "64G")


def test_plan_shows_it_for_each_arm(tmp_path: Path) -> None:
    path = write(tmp_path, TOY + "resources: {memory: 1M}\n")
    told = run("plan", path, "--format", "json")
    assert told.code == 0, told.err
    rows = told.json["arms"]
    memory = rows[0]["step_memory"]
    assert memory["peak"] == sum(memory[name] for name in ("parameters", "average", "optimiser", "gradients",
                                                           "activations"))  # fmt: skip
    assert (memory["of"], memory["processes"], memory["stated"], memory["fits"]) == ("process", 1, "1M", False)
    told = run("plan", path).out
    assert "memory of a training step of" in told
    assert "refused by check and launch" in told
