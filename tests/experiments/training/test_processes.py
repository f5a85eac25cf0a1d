"""Several processes for one replicate: the same losses, the same samples, the same scores, one kind of checkpoint."""

import itertools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.record.recording import desire
from experiments.training.gradients import pieces_of
from experiments.training.processes import ALONE, Processes, joined
from registry import strict_yaml
from registry.errors import RunError
from registry.runs.machine import ROOT
from registry.runs.replicate import Replicate
from registry.runs.stored import read_events
from tests.fixtures.ranks import (
    CPU,
    ask,
    evaluate_with_failures,
    fail,
    sample_and_score,
    together,
    train_on,
    train_several,
    train_with_an_idle_layer,
)
from tests.fixtures.toy_replicates import assert_same, made

# Float32 on the CPU. Seen: 7e-8 for losses, 2e-7 for gradients' norms, over 6 steps and 1, 2 or 3 processes.
LOSSES = 2e-6
# 3 + 2 rows, 2 + 2 + 1 rows, each taken alone: the last processes have a piece that counts for nothing.
UNEVEN = ("learning.batch_size=5", "runtime.accumulation=5")


def toys(folder: Path, *names: str, overrides: tuple[str, ...] = ()) -> list[Replicate]:
    """The same replicate in several folders; of those with `shard` in their names the weights are shared out."""
    return [
        made(folder / name, "floors=[]", f"runtime.shard={'shard' in name}".lower(), *overrides)[0] for name in names
    ]


def logged(replicate: Replicate) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if key != "time"} for line in replicate.metrics()]


def assert_close(found: Any, expected: Any, tolerance: float = LOSSES) -> None:
    assert len(found) == len(expected)
    for line, wanted in zip(found, expected, strict=True):
        assert line == pytest.approx(wanted, rel=tolerance)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("together")


@pytest.fixture(scope="module")
def alone(folder: Path) -> tuple[Replicate, Any, dict[str, float]]:
    """Trained by one process: the replicate, its state and validation losses."""
    (replicate,) = toys(folder, "alone", overrides=UNEVEN)
    state, final = train_on(ALONE, replicate.folder)
    return replicate, state, final


# ---------------------------------------------------------------- questions


def test_one_process_when_nobody_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined(CPU) as processes:
        assert (processes.world, processes.is_first, processes.alone) == (1, True, True)
        assert ask(processes) == ([True, True, False], [1.0, 0.0], {"of": 0}, [0, 1, 2, 3, 4], 0, "cpu")
    assert not torch.distributed.is_initialized()


def test_half_an_environment_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    told = r"WORLD_SIZE is 2, but RANK, MASTER_ADDR, MASTER_PORT is not set; .*torchrun"
    with pytest.raises(RunError, match=told), joined(CPU):
        pass


SLURM = {
    "SUBMITIT_EXECUTOR": "slurm", "SLURM_JOB_ID": "7", "SLURM_NTASKS": "3", "SLURM_JOB_NUM_NODES": "1",
    "SLURM_JOB_NODELIST": "localhost", "SLURM_NODEID": "0", "SLURM_PROCID": "{rank}", "SLURM_LOCALID": "{rank}",
}  # fmt: skip


@pytest.mark.parametrize("environment", [None, SLURM], ids=["torchrun", "submitit"])
def test_processes_agree(environment: dict[str, str] | None) -> None:
    """By torchrun's variables, and by those that Slurm gives a submitit job of several tasks."""
    shares = [[0, 1], [2, 3], [4]]
    for rank, told in enumerate(together(3, ask, environment=environment)):
        assert told == ([True, True, False], [3.0, 3.0], {"of": 0}, shares[rank], rank, "cpu")


@pytest.mark.parametrize(
    ("how", "first", "last"),
    [
        ("raises", r"RunError: process 1 on .* failed: ValueError: a bad disk$", "ValueError: a bad disk\nand more"),
        ("dies", "LostError: another process of this run ended without a word", None),
    ],
)
def test_a_process_that_fails_takes_the_others_with_it(folder: Path, how: str, first: str, last: str | None) -> None:
    (replicate,) = toys(folder, "failing")
    told = together(2, fail, how, replicate.folder)
    assert re.match(first, told[0])
    assert told[1] == last


# ---------------------------------------------------------------- training


def test_pieces_are_a_batch_once_and_as_many_everywhere() -> None:
    for world, accumulation in itertools.product((1, 2, 3, 4), (1, 2, 3, 7)):
        for size in range(world, 10):
            ranks = [pieces_of(size, accumulation, Processes(rank, world)) for rank in range(world)]
            assert len({len(pieces) for pieces in ranks}) == 1
            rows = [rows for pieces in ranks for rows, counts in pieces if counts]
            assert [row for piece in rows for row in range(piece.start, piece.stop)] == list(range(size))
            most = -(-size // world)
            assert max(piece.stop - piece.start for piece in rows) == -(-most // min(accumulation, most))
            for rank, pieces in enumerate(ranks):
                own = Processes(rank, world).share(size)
                assert all(own.start <= piece.start < piece.stop <= own.stop for piece, _ in pieces)


def test_more_processes_than_clips_are_refused() -> None:
    with pytest.raises(RunError, match=r"a batch of 4 clips cannot be shared out over 5 processes; start at most 4"):
        pieces_of(4, 1, Processes(0, 5))


def test_a_layer_that_plays_no_part_stops_nothing() -> None:
    """Its weights get no gradient, as with one process, where torch's wrapper alone would wait for it."""
    twice_the_mean = [[3.0] * 3] * 2  # of 1 and 2, over two micro-batches
    assert together(2, train_with_an_idle_layer) == [(twice_the_mean, None, True)] * 2


@pytest.mark.parametrize("world", [2, 3])
def test_losses_do_not_depend_on_the_number_of_processes(folder: Path, alone: Any, world: int) -> None:
    """Neither in a wrapper that averages gradients, nor with weights that are shared out."""
    names = (f"by-{world}", f"shard-{world}")
    replicates = toys(folder, *names, overrides=UNEVEN)
    told = together(world, train_several, [(replicate.folder, None) for replicate in replicates])
    expected, state, final = alone
    for number, replicate in enumerate(replicates):
        assert_close(logged(replicate), logged(expected))
        finals = [given[number][1] for given in told]
        assert finals == [finals[0]] * world
        assert finals[0] == pytest.approx(final, rel=LOSSES)
        found = told[0][number][0]
        assert torch.equal(found["generator"], state["generator"])
        for part in ("model", "ema"):
            assert found[part].keys() == state[part].keys()
            for name, value in state[part].items():
                assert type(found[part][name]) is torch.Tensor
                # AdamW turns rounding in vanishing gradients into steps of up to the learning rate, 1e-3.
                torch.testing.assert_close(found[part][name], value, rtol=0, atol=2e-4)
        written = torch.load(replicate.checkpoints()[-1], weights_only=True)
        assert_same({k: v for k, v in written.items() if k != "torch_generator"},
                    {k: v for k, v in found.items() if k != "torch_generator"})  # fmt: skip


def test_joint_losses_do_not_depend_on_the_number_of_processes(folder: Path) -> None:
    """Each process reads the stills of its own rows, and draws the numbers of all."""
    one, *several = toys(folder, "joint", "joint-by-2", "joint-shard", overrides=(*UNEVEN, "learning.joint_images=2"))
    _, final = train_on(ALONE, one.folder)
    told = together(2, train_several, [(replicate.folder, None) for replicate in several])
    for number, replicate in enumerate(several):
        assert_close(logged(replicate), logged(one))
        assert told[0][number][1] == pytest.approx(final, rel=LOSSES)


def test_a_run_moves_between_numbers_of_processes(folder: Path, alone: Any) -> None:
    """Begun by one process, gone on with by two, by two that share the weights out, by three, and ended by one."""
    (replicate,) = toys(folder, "moving", overrides=UNEVEN)
    (sharded,) = toys(folder, "moving", overrides=(*UNEVEN, "runtime.shard=true"))
    assert sharded.folder == replicate.folder
    assert train_on(ALONE, replicate.folder, 1)[0]["step"] == 1
    plain, shared = (replicate.spec, sharded.spec)
    for world, spec, step in ((2, shared, 2), (3, plain, 4), (2, shared, 5)):
        text = strict_yaml.dump(spec.model_dump(mode="json"))
        (replicate.folder / "spec.yaml").write_text(text)
        states = [state for state, _ in together(world, train_on, replicate.folder, step)]
        assert [states[0]["step"], *states[1:]] == [step] * world
    state, final = train_on(ALONE, replicate.folder)
    assert final == pytest.approx(alone[2], rel=LOSSES)
    assert torch.equal(state["generator"], alone[1]["generator"])
    assert_close(logged(replicate), logged(alone[0]))


def test_interrupted_and_resumed_by_two_equals_undisturbed_by_two(folder: Path) -> None:
    names = ("plain-undisturbed", "plain-disturbed", "shard-undisturbed", "shard-disturbed")
    plain, plain_disturbed, shard, shard_disturbed = toys(folder, *names)
    pairs = ((plain, plain_disturbed), (shard, shard_disturbed))
    turns = [(a.folder, stop) for straight, twice in pairs for a, stop in ((straight, None), (twice, 3), (twice, None))]
    told, _ = together(2, train_several, turns)
    for (straight, twice), ((expected, losses), (half, _), (state, final)) in zip(
        pairs, (told[:3], told[3:]), strict=True
    ):
        assert half["step"] == 3
        assert_same(state, expected)
        assert final == losses
        assert logged(twice) == logged(straight)


# ---------------------------------------------------------------- samples and scores


def test_samples_and_scores_are_the_same_bits(folder: Path) -> None:
    """By one process, by two, and by three that are stopped in between."""
    names = ("measured-1", "measured-2", "measured-3")
    found, files = [], []
    (source,) = toys(folder, "source")
    train_on(ALONE, source.folder)
    for world, replicate in enumerate(
        toys(folder, *names, overrides=("sampling.clips=7", "runtime.sampling_batch=2")), 1
    ):
        shutil.copytree(source.training / "checkpoints", replicate.training / "checkpoints")
        shutil.rmtree(replicate.training.parents[2] / "_data" / "references", ignore_errors=True)
        if world == 1:
            found.append(sample_and_score(ALONE, replicate.folder))
        else:
            told = together(world, sample_and_score, replicate.folder, world == 3)
            assert told == [told[0]] * world
            found.append(told[0])
        files.append({path.name: path.read_bytes() for path in (replicate.folder / "samples").iterdir()})
        features = [path for path in (replicate.folder / "features").rglob("*") if path.suffix != ".lock"]
        assert [path.suffix for path in features if path.is_file()] == [".npy"]
    assert len(files[0]) == 4
    assert files[1] == files[0]
    assert files[2] == files[0]
    assert found[1] == found[0]
    assert found[2] == found[0]


FAILURES = {  # and what is seen of it
    "no checkpoint": "process 0 on .*: trained_network failed",
    "no captions": "process 1 on .*: drawing_of failed",
    "no weights": "process 0 on .*: metrics failed",
    "planning": "side_of failed",
    "drawing": "process 0 on .*: clips failed",
    "measuring": "process 1 on .*: _measure_batch failed",
    "bringing together": "finish failed",
    "a metric": "bind failed",
}


def test_what_fails_in_one_evaluation_stops_no_other(folder: Path) -> None:
    """Wherever it fails: all processes know it, and go on with the next; they would wait for each other for hours."""
    guided = f"ablate={{sampling.guidance: {[1.0 + number for number in range(len(FAILURES) + 1)]}}}"
    overrides = ("floors=[]", "seeds=[0]", "claim=[]", "learning.steps=1", guided)
    replicate = made(folder / "failures", *overrides, only=())[0]
    training = replicate.training
    (made_by_first, failures), made_by_second = together(2, evaluate_with_failures, training, tuple(FAILURES))
    assert (len(made_by_first), made_by_second) == (1, [])
    assert len(failures) == len(FAILURES), failures
    for told in FAILURES.values():
        assert sum(re.search(rf"evaluation \w+: {told}$", text) is not None for text in failures) == 1, (told, failures)
    assert [event.event for event in read_events(training)] == ["failed"] * len(FAILURES) + ["done"]


# ---------------------------------------------------------------- from the command line


def test_torchrun_brings_a_replicate_to_its_result(tmp_path: Path) -> None:
    one, two = toys(tmp_path, "one", "two")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    run = ["-m", "experiments.worker.run"]
    many = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    for replicate, words in ((one, run), (two, many + run)):
        command = [sys.executable, *words, str(replicate.training)]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("done: evaluation ") == done.stdout.count(" fvd[") == 1  # one of them speaks
    assert [event.event for event in two.events()] == ["started", "done"]
    assert_close(logged(two)[:-1], logged(one)[:-1])
    first, second = one.result(), two.result()
    assert first is not None
    assert second is not None
    assert (first.processes, second.processes) == (1, 2)
    # Weights that differ in the last digits may turn a pixel of a clip by one of 255 steps.
    assert second.scores == pytest.approx(first.scores, rel=1e-3)


def test_torchrun_ends_at_once_where_nothing_is_wanted_any_more(tmp_path: Path) -> None:
    """Rank 0, which alone knows it, meets the others; they would wait ten minutes for it."""
    (replicate,) = toys(tmp_path, "cancelled")
    desire(replicate, "cancel", reason="by a test")
    many = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", "-m", "experiments.worker.run"]
    done = subprocess.run(
        [sys.executable, *many, str(replicate.training)], cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (replicate.state, list(replicate.events())) == ("cancelled", [])
