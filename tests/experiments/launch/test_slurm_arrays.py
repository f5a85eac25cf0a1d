"""Arrays of a launch: each replicate once, none longer than the cluster allows, at most `parallel` tasks at once."""

import dataclasses
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from submitit.slurm.slurm import SlurmExecutor

from experiments.launch import slurm_arrays
from experiments.launch.slurm_arrays import Chunk, SlurmArrays, chunks, script
from experiments.record.slurm_queue import Cluster, Queue, elements
from experiments.record.snapshot import Snapshot
from experiments.record.states import Task, states
from registry.runs.replicate import Replicate
from registry.schema.resources import Resources, Shape
from tests.fixtures.toy_replicates import made, plan_of


@pytest.fixture(scope="module")
def replicate(tmp_path_factory: pytest.TempPathFactory) -> Replicate:
    return plan_of(tmp_path_factory.mktemp("slurm")).replicates[0]


def named(replicate: Replicate, names: list[str]) -> list[Task]:
    """A training each."""
    return [
        Task((dataclasses.replace(replicate, arm=name, seed=seed, training=Path(str(seed))),))
        for seed, name in enumerate(names)
    ]


@given(
    names=st.lists(st.sampled_from(["small", "large", "odd"]), max_size=60),
    longest=st.integers(1, 20),
    parallel=st.none() | st.integers(1, 12),
    in_turn=st.integers(1, 7),
)
def test_arrays(replicate: Replicate, names: list[str], longest: int, parallel: int | None, in_turn: int) -> None:
    todo = named(replicate, names)
    # Two preparing jobs, and trainings that wait for neither.
    before = {one.training: {0: "41", 1: "42"}[seed % 4] for seed, one in enumerate(todo) if seed % 4 < 2}
    own = {"large": Shape(gpus=8, replicates_per_task=1), "odd": Shape(time="1h")}
    resources = Resources(parallel=parallel, replicates_per_task=in_turn, arms=own)
    found = chunks(todo, resources, Cluster("lab", longest), Shape(), before)
    assert sorted(one.replicates[0].seed for chunk in found for one in chunk.trainings) == list(range(len(todo)))
    alike = {(one.replicates[0].arm, before.get(one.training)) for one in todo}
    for name, after in alike:  # their tasks are full, but for the last
        own = [chunk for chunk in found if chunk.after == after]
        sizes = [len(task) for chunk in own for task in chunk.tasks if task[0].replicates[0].arm == name]
        assert set(sizes[:-1]) <= {1 if name == "large" else in_turn}
        assert 1 <= sizes[-1] <= (1 if name == "large" else in_turn)
    for chunk in found:
        assert len({one.replicates[0].arm for one in chunk.trainings}) == 1  # here an arm a shape
        assert chunk.minutes == max(map(len, chunk.tasks)) * (60 if chunk.shape.time == "1h" else 240)
        assert 1 <= len(chunk.tasks) <= longest
        assert 1 <= chunk.limit <= len(chunk.tasks)
        assert chunk.behind is None or chunk.behind < found.index(chunk)
    lanes = min(len(found), parallel or len(found))
    roomy = sum(max(len(chunk.tasks) for chunk in found[lane::lanes]) for lane in range(lanes))
    assert most_at_once(found) == min(parallel or roomy, roomy), "as many at once as may be, and no more"
    waiting = [chunk.after for chunk in found]
    assert waiting == sorted(waiting, key=lambda after: after is not None), (
        "what can begin at once is first in its lane"
    )
    for chunk in found:
        assert {before.get(one.training) for one in chunk.trainings} == {chunk.after}
    if parallel is None:
        assert all(chunk.behind is None and chunk.limit == len(chunk.tasks) for chunk in found)


def most_at_once(found: list[Chunk]) -> int:
    """Chunks that do not wait for each other can all be at their limit at the same time."""
    ends: dict[int, int] = {}  # number of a chunk -> its lane's first
    lanes: dict[int, int] = {}
    for number, chunk in enumerate(found):
        ends[number] = first = ends[chunk.behind] if chunk.behind is not None else number
        lanes[first] = max(lanes.get(first, 0), chunk.limit)
    return sum(lanes.values())


def arrays_of(folder: Path, resources: Resources, defaults: Shape | None = None) -> SlurmArrays:
    snapshot = Snapshot(folder / "_code" / "0123", "", False)
    return SlurmArrays(folder / "toy", resources, Cluster("lab", 1001), defaults or Shape(), snapshot)


@pytest.fixture
def _srun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SlurmExecutor, "affinity", classmethod(lambda cls: 2))  # as if there were an srun


FULL: dict[str, Any] = {
    "partition": "gpu", "account": "lab", "qos": "high", "constraint": "a100", "wckey": "w", "nodes": 2, "gpus": 4,
    "tasks_per_node": 4, "cpus": 8, "memory": "64G", "time": "2h", "signal_seconds": 60, "setup": ("module load cuda",),
    "sbatch": {"reservation": "r1", "exclusive": True}, "srun": ("--mpi=none",),
}  # fmt: skip


@pytest.mark.usefixtures("_srun")
def test_everything_that_is_asked_for_stands_in_the_batch_script(tmp_path: Path, replicate: Replicate) -> None:
    arrays = arrays_of(tmp_path, Resources(**FULL))
    tasks = named(replicate, ["a"] * 5)
    before = {task.training: "41" for task in tasks}
    (chunk,) = chunks(tasks, arrays.resources, arrays.cluster, arrays.defaults, before)
    text = script(arrays.executor(chunk, "42"), 5)
    for line in (
        "--partition=gpu", "--account=lab", "--qos=high", "--constraint=a100", "--wckey=w", "--nodes=2",
        "--gpus-per-node=4", "--ntasks-per-node=4", "--cpus-per-task=8", "--mem=64G", "--time=120", "--signal=USR2@60",
        "--reservation=r1", "--exclusive", "--array=0-4%5", "--requeue", "--dependency=afterok:41,afterany:42",
        f"--comment={arrays.token}",
    ):  # fmt: skip
        assert f"#SBATCH {line}\n" in text, line
    assert "\nmodule load cuda\n" in text
    assert f"export PYTHONPATH={tmp_path}/_code/0123" in text
    assert "srun --unbuffered" in text
    assert "--kill-on-bad-exit=1 --mpi=none" in text
    assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0


@pytest.mark.usefixtures("_srun")
def test_what_is_not_asked_for_does_not(tmp_path: Path, replicate: Replicate) -> None:
    arrays = arrays_of(tmp_path, Resources())
    (chunk,) = chunks([Task((replicate,))], arrays.resources, arrays.cluster, arrays.defaults)
    text = script(arrays.executor(chunk), 1)
    for word in ("wckey", "partition", "account", "gpus", "gres", "mem", "array", "dependency", "kill-on-bad-exit"):
        assert f"--{word}" not in text, word
    named_otherwise = arrays_of(tmp_path, Resources(gres="gpu:a100:2", gpus=2))
    (chunk,) = chunks([Task((replicate,))], named_otherwise.resources, arrays.cluster, arrays.defaults)
    text = script(named_otherwise.executor(chunk), 1)
    assert "--gres=gpu:a100:2" in text
    assert "--gpus" not in text


@pytest.mark.usefixtures("_srun")
def test_a_dependency_of_the_user_holds_beside_our_own(tmp_path: Path, replicate: Replicate) -> None:
    arrays = arrays_of(tmp_path, Resources(sbatch={"dependency": "singleton"}))
    (chunk,) = chunks([Task((replicate,))], arrays.resources, arrays.cluster, arrays.defaults)
    assert "#SBATCH --dependency=singleton\n" in script(arrays.executor(chunk))
    behind = dataclasses.replace(chunk, after="41")
    assert "#SBATCH --dependency=singleton,afterok:41\n" in script(arrays.executor(behind))
    assert "#SBATCH --dependency=singleton,afterany:42\n" in script(arrays.verb_executor("report", "afterany:42"))


@pytest.mark.usefixtures("_srun")
def test_the_jobs_beside_the_replicates_have_shapes_of_their_own(tmp_path: Path) -> None:
    resources = Resources(gpus=8, nodes=2, partition="gpu", report=Shape(gpus=0, partition="cpu"))
    arrays = arrays_of(tmp_path, resources)
    prepare, report = (script(arrays.verb_executor(verb)) for verb in ("prepare", "report"))
    assert "--gpus-per-node=8" in prepare
    assert "--partition=gpu" in prepare
    assert "--gpus" not in report
    assert "--partition=cpu" in report
    for text in (prepare, report):
        assert "--nodes=1" in text
        assert "--ntasks-per-node=1" in text


@pytest.mark.usefixtures("_srun")
def test_a_task_has_the_time_of_all_that_it_takes_in_turn(tmp_path: Path, replicate: Replicate) -> None:
    arrays = arrays_of(tmp_path, Resources(replicates_per_task=4, time="1h", signal_seconds=60))
    (chunk,) = chunks(named(replicate, ["a"] * 6), arrays.resources, arrays.cluster, arrays.defaults)
    assert [len(task) for task in chunk.tasks] == [4, 2]
    text = script(arrays.executor(chunk), len(chunk.tasks))
    assert "#SBATCH --time=240\n" in text
    assert "#SBATCH --array=0-1%2\n" in text
    assert "#SBATCH --time=60\n" in script(arrays.verb_executor("report"))


@pytest.mark.usefixtures("_srun")
def test_a_task_that_takes_some_at_once_needs_less_time(tmp_path: Path, replicate: Replicate) -> None:
    for per_task, tasks, limit in ((None, [3, 3], 60), (6, [6], 120), (5, [5, 1], 120)):
        resources = Resources(gpus=1, replicates_per_task=per_task, replicates_per_gpu=3, time="1h", signal_seconds=60)
        arrays = arrays_of(tmp_path, resources)
        (chunk,) = chunks(named(replicate, ["a"] * 6), arrays.resources, arrays.cluster, arrays.defaults)
        assert [len(task) for task in chunk.tasks] == tasks
        assert f"#SBATCH --time={limit}\n" in script(arrays.executor(chunk), len(chunk.tasks))


def test_what_is_interrupted_before_it_is_submitted_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*given: object) -> None:
        raise KeyboardInterrupt

    todo = made(tmp_path)
    monkeypatch.setattr(slurm_arrays, "chunks", interrupted)
    with pytest.raises(KeyboardInterrupt):
        arrays_of(tmp_path, Resources()).submit(todo)
    assert {str(state) for state in states(todo)} == {"missing"}


def test_of_jobs_that_were_not_asked_about_nothing_is_said() -> None:
    queue = Queue(frozenset({"7"}))
    assert queue.hint("7_3") == ""
    assert queue.hint("8") is None
    assert Queue(frozenset({"7"}), answered=False).hint("7_3") is None


@pytest.mark.parametrize(
    ("name", "jobs"),
    [("7", ["7"]), ("7_3", ["7_3"]), ("7_[2-4%2]", ["7_2", "7_3", "7_4"]), ("7_[0,5-6]", ["7_0", "7_5", "7_6"]),
     ("7_[1-5:2]", ["7_1", "7_3", "7_5"]), ("7_[1,3,5,7,...%2]", ["7_1", "7_3", "7_5", "7_7"])],
)  # fmt: skip
def test_what_stands_together_in_the_accounting(name: str, jobs: list[str]) -> None:
    assert elements(name) == jobs
