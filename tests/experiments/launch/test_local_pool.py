"""The local executor: so many at once, GPUs of their own, and the same states as on a cluster."""

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from experiments.launch import local_pool
from experiments.launch.local_pool import LocalPool, visible_gpus
from experiments.record.recording import desire
from experiments.record.snapshot import Snapshot
from experiments.record.states import Submission, claim, states
from experiments.worker import starting, warm_start
from registry.runs import machine
from registry.runs.machine import ROOT
from registry.runs.replicate import Replicate
from registry.schema.resources import Resources, Shape
from tests.fixtures.toy_replicates import made
from tests.waiting import until

FOUR = ("seeds=[0,1,2,3]", "floors=[]")
# Stands for a training: notes its environment, then waits to be told how to end.
STANDING_IN = """
import json, os, sys, time
from pathlib import Path
folder = Path(sys.argv[-1])
(folder / "environment.json").write_text(json.dumps(dict(os.environ)))
while not (folder / "end").exists():
    time.sleep(0.02)
sys.exit(int((folder / "end").read_text()))
"""


@pytest.fixture
def four(tmp_path: Path) -> list[Replicate]:
    return made(tmp_path, *FOUR)


@pytest.fixture
def pool_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., LocalPool]]:
    """Makes pools whose processes stand in for trainings; ends what they leave."""
    code = tmp_path / "code"
    (code / "experiments" / "worker").mkdir(parents=True)
    (code / "experiments" / "__init__.py").write_text("")
    (code / "experiments" / "worker" / "__init__.py").write_text("")
    (code / "experiments" / "worker" / "run.py").write_text(STANDING_IN)
    for name in starting.IMPORTED:
        (code / name.replace(".", "/")).with_suffix(".py").write_text("")
    shutil.copy(warm_start.__file__, code / "experiments" / "worker")
    pools: list[LocalPool] = []

    def make(**resources: object) -> LocalPool:
        pools.append(LocalPool(Resources(**resources), Snapshot(code, "", False)))  # type: ignore[arg-type]
        return pools[-1]

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    yield make
    for pool in pools:
        pool.close(False)


def begun(todo: list[Replicate]) -> list[int]:
    return [replicate.seed for replicate in todo if (replicate.training / "environment.json").exists()]


def environment_of(replicate: Replicate) -> dict[str, str]:
    path = replicate.training / "environment.json"
    until(lambda: path.exists() and path.read_text(), "it has begun")
    found: dict[str, str] = json.loads(path.read_text())
    return found


def end(replicate: Replicate, code: int = 0) -> None:
    (replicate.training / "end").write_text(str(code))


def test_so_many_at_once(four: list[Replicate], pool_of: Callable[..., LocalPool]) -> None:
    pool = pool_of(parallel=2)
    assert len(pool.submit(four)) == 4
    until(lambda: len(begun(four)) == 2, "two have begun")
    assert states(four) == ["queued"] * 4
    end(four[0])
    until(lambda: pool.poll() or len(begun(four)) == 3, "three have begun")
    assert begun(four) == [0, 1, 2]
    for replicate in four:
        end(replicate)
    until(lambda: pool.poll() or not pool.busy, "the pool is idle")
    assert begun(four) == [0, 1, 2, 3]
    assert "queued" not in states(four)


def test_the_cores_are_shared_out(
    four: list[Replicate], pool_of: Callable[..., LocalPool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "usable_cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    runtime = four[0].spec.runtime.model_copy(update={"threads": None})
    free = replace(four[0], spec=four[0].spec.model_copy(update={"runtime": runtime}))
    pool_of(parallel=2).submit([free])
    assert environment_of(free)["OMP_NUM_THREADS"] == "4"
    pool_of(parallel=2).submit(four[1:2])  # which asks for one
    assert environment_of(four[1])["OMP_NUM_THREADS"] == "1"


@pytest.mark.parametrize(("said", "threads"), [("1", 1), ("3,2", 3), ("64", 4), ("", 4), ("many", 4)])
def test_a_replicate_has_no_more_threads_than_the_user_says(
    said: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "usable_cores", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert machine.threads_of(2) == threads


def test_each_has_gpus_of_its_own(
    four: list[Replicate], pool_of: Callable[..., LocalPool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert visible_gpus() == ["3", "5"]
    pool = pool_of(parallel=4)
    pool.submit(four)
    until(lambda: len(begun(four)) == 2, "two have begun")
    pool.poll()
    assert begun(four) == [0, 1]  # there are two GPUs
    assert [environment_of(replicate)["CUDA_VISIBLE_DEVICES"] for replicate in four[:2]] == ["3", "5"]
    end(four[0])
    until(lambda: pool.poll() or len(begun(four)) == 3, "three have begun")
    assert environment_of(four[2])["CUDA_VISIBLE_DEVICES"] == "3"


def test_so_many_share_a_gpu_and_the_emptiest_comes_first(
    four: list[Replicate], pool_of: Callable[..., LocalPool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    pool = pool_of(parallel=3, replicates_per_gpu=2)
    pool.submit(four)
    until(lambda: len(begun(four)) == 3, "three have begun")
    assert [environment_of(replicate)["CUDA_VISIBLE_DEVICES"] for replicate in four[:3]] == ["3", "5", "3"]
    end(four[1])
    until(lambda: pool.poll() or len(begun(four)) == 4, "the last has begun")
    assert environment_of(four[3])["CUDA_VISIBLE_DEVICES"] == "5"


def test_a_full_gpu_is_not_shared_further(
    four: list[Replicate], pool_of: Callable[..., LocalPool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    pool = pool_of(parallel=4, replicates_per_gpu=3)
    pool.submit(four)
    until(lambda: len(begun(four)) == 3, "three have begun")
    pool.poll()
    assert begun(four) == [0, 1, 2]
    end(four[1])
    until(lambda: pool.poll() or len(begun(four)) == 4, "its place is taken")


def test_two_pools_do_not_start_the_same(four: list[Replicate], pool_of: Callable[..., LocalPool]) -> None:
    first, second = pool_of(parallel=1), pool_of(parallel=4)
    assert len(first.submit(four[:3])) == 3
    assert second.submit(four) == [four[3].name]
    first.close(False)
    assert len(second.submit(four)) == 3  # what the first gave back


def test_what_waits_can_be_cancelled(four: list[Replicate], pool_of: Callable[..., LocalPool]) -> None:
    pool = pool_of(parallel=1)
    pool.submit(four)
    until(lambda: begun(four), "one has begun")
    desire(four[1], "cancel")
    end(four[0])
    until(lambda: pool.poll() or len(begun(four)) == 2, "two have begun")
    assert begun(four) == [0, 2]
    assert states(four[1:2]) == ["cancelled"]


@pytest.mark.parametrize(("code", "state"), [(1, "failed"), (3, "missing"), (4, "missing")])
def test_a_process_that_ends_without_a_word(
    four: list[Replicate], pool_of: Callable[..., LocalPool], code: int, state: str
) -> None:
    pool = pool_of()
    pool.submit(four[:1])
    end(four[0], code)
    until(lambda: pool.poll() or not pool.busy, "the pool is idle")
    assert states(four[:1]) == [state]


def test_one_that_cannot_be_started_is_given_back(
    four: list[Replicate], pool_of: Callable[..., LocalPool], capfd: pytest.CaptureFixture[str]
) -> None:
    (four[0].training / "log.txt").mkdir()
    pool = pool_of(parallel=2)
    pool.submit(four[:2])
    assert states(four[:1]) == ["missing"], "else whoever waits for it would wait for ever"
    assert f"{four[0].training / 'log.txt'}: Is a directory" in capfd.readouterr().err
    end(four[1])
    until(lambda: pool.poll() or not pool.busy, "the pool is idle")
    assert begun(four[:2]) == [1]


def test_an_end_that_the_disk_does_not_take_is_noted_later(
    four: list[Replicate], pool_of: Callable[..., LocalPool], monkeypatch: pytest.MonkeyPatch
) -> None:
    full = [OSError(errno.ENOSPC, "No space left on device", str(four[0].training))] * 2
    real = Submission.note

    def note(self: Submission, **changes: object) -> None:
        if full and "ended" in changes:
            raise full.pop()
        real(self, **changes)

    pool = pool_of()
    pool.submit(four[:1])
    monkeypatch.setattr(Submission, "note", note)
    end(four[0], 1)
    until(lambda: pool.poll() or not pool.busy, "the pool is idle")
    assert "ended with code 1" in four[0].events()[-1].error, "what ended is told all the same"
    pool.close(False)
    other = pool_of()  # as in a notebook: whoever waited for the first one would wait for ever
    until(lambda: other.poll() or not full, "the disk was full twice")
    other.poll()
    assert states(four[:1]) == ["failed"]
    submission = four[0].submission()
    assert submission is not None
    assert submission.ended is not None


def test_a_killed_process_is_interrupted(four: list[Replicate], pool_of: Callable[..., LocalPool]) -> None:
    pool = pool_of()
    pool.submit(four[:1])
    until(lambda: begun(four), "one has begun")
    (process,) = [process for _, process, _ in pool._started.values()]
    process.kill()
    until(lambda: pool.poll() or not pool.busy, "the pool is idle")
    assert states(four[:1]) == ["interrupted"]
    assert "killed by signal 9" in four[0].events()[-1].reason


def test_closing_ends_what_runs_and_gives_back_what_waits(
    four: list[Replicate], pool_of: Callable[..., LocalPool]
) -> None:
    pool = pool_of(parallel=2)
    pool.submit(four)
    until(lambda: len(begun(four)) == 2, "two have begun")
    pool.close(False)
    assert not pool.busy
    assert len(claim(four, "local", "other")) == 4


DEAF = """
import os, signal, subprocess, sys, time
from pathlib import Path
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
(Path(sys.argv[-1]) / "child").write_text(str(child.pid))
(Path(sys.argv[-1]) / "environment.json").write_text("{}")
time.sleep(3600)
"""


def _gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_closing_kills_what_does_not_end(
    tmp_path: Path, four: list[Replicate], pool_of: Callable[..., LocalPool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all that it started."""
    monkeypatch.setattr(local_pool, "CLOSE_SECONDS", 0.1)
    (tmp_path / "code" / "experiments" / "worker" / "run.py").write_text(DEAF)
    pool = pool_of()
    pool.submit(four[:1])
    until(lambda: begun(four), "one has begun")
    pool.close(False)
    assert not pool.busy
    assert states(four[:1]) == ["interrupted"]
    child = int((four[0].training / "child").read_text())
    until(lambda: _gone(child), "its child has ended")


def test_closing_gives_back_what_cannot_be_told_of(
    tmp_path: Path, four: list[Replicate], pool_of: Callable[..., LocalPool], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(training: Path, code: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(training))

    monkeypatch.setattr(local_pool, "CLOSE_SECONDS", 0.1)
    monkeypatch.setattr(local_pool, "note_silent_death", full)
    (tmp_path / "code" / "experiments" / "worker" / "run.py").write_text(DEAF)
    pool = pool_of()
    pool.submit(four[:1])
    until(lambda: begun(four), "one has begun")
    pool.close(False)
    assert len(claim(four[:1], "local", "other")) == 1


def test_where_nothing_can_be_forked_python_is_started(
    tmp_path: Path, four: list[Replicate], pool_of: Callable[..., LocalPool]
) -> None:
    (tmp_path / "code" / "experiments" / "worker" / "stages.py").write_text("import nothing_of_that_name")
    pool = pool_of(parallel=2)
    pool.submit(four[:2])
    assert environment_of(four[0])["OMP_NUM_THREADS"] == environment_of(four[1])["OMP_NUM_THREADS"]
    end(four[0], 1)
    end(four[1], 3)
    until(lambda: pool.poll() or not pool.busy, "the pool is idle")
    assert states(four[:2]) == ["failed", "missing"]


def test_trainings_go_on_without_what_forked_them(four: list[Replicate], pool_of: Callable[..., LocalPool]) -> None:
    pool = pool_of(parallel=2)
    pool.submit(four[:2])
    until(lambda: len(begun(four)) == 2, "two have begun")
    (forking,) = psutil.Process(pool._started.copy().popitem()[0]).parents()[:1]
    assert forking.pid != os.getpid()
    forking.kill()
    pool.poll()
    assert len(pool._started) == 2
    end(four[0])
    until(lambda: pool.poll() or len(pool._started) == 1, "the pool sees that one has ended")
    pool.submit(four[2:3])
    until(lambda: len(begun(four)) == 3, "another is started by itself")


def test_several_processes_a_replicate_are_started_by_torchrun(tmp_path: Path) -> None:
    (replicate,) = made(tmp_path, "seeds=[0]", "floors=[]")
    pool = LocalPool(Resources(tasks_per_node=2, arms={"other": Shape(tasks_per_node=3)}), Snapshot(ROOT, "", False))
    pool.submit([replicate])
    until(lambda: pool.poll() or not pool.busy, "the pool is idle")
    assert states([replicate]) == ["done"], (replicate.training / "log.txt").read_text()
    result = replicate.result()
    assert result is not None
    assert result.processes == 2
