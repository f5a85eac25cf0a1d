"""The processes that run one replicate together, whoever started them: `torchrun`, Slurm through submitit, or nobody.

One process when the environment says nothing else. Rank 0 alone writes the run folder; the others compute. Gradients
go over gloo on the CPU and NCCL on GPUs; questions between the processes (stop? go on? which checkpoint?) always over
gloo, so that asking them never waits for a GPU. The network interface is the user's affair (`GLOO_SOCKET_IFNAME`,
`NCCL_SOCKET_IFNAME`).

When one process fails, it tells the others why through the rendezvous store and lets its connections fall, so that
their next collective fails at once with its message. One that hangs, or whose machine vanished, is noticed by a
gradient's or a step's `STEP_TIMEOUT`. A launcher that ends the others as well (torchrun does, `srun
--kill-on-bad-exit=1` too) frees GPUs that wait inside NCCL.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from registry.errors import RunError

STEP_TIMEOUT = timedelta(minutes=10)  # for gradients and for agreeing on a step, where all are about equally fast
TURN_TIMEOUT = timedelta(hours=12)  # for what rank 0 does alone: checkpoints, waiting for another job's reference
LAST_WORDS = 2.0  # seconds that a failing rank 0 stays, for the others to read why
FAILED = "workbench/failed"  # key of the rendezvous store under which a failing process says why

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """This process among those that run the replicate together.

    Attributes:
        rank: its number, 0 for the one that writes.
        world: how many there are.
        local_rank: its number on its machine.
        local_world: how many are on its machine.
        device: where it computes.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    local_world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    _turns: Any = field(default=None, repr=False, compare=False)  # the gloo group that is patient
    _store: Any = field(default=None, repr=False, compare=False)  # where a failing process says why

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes the run folder."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        return self.world == 1

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process; all get the same answer at the same call."""
        if self.alone:
            return flag
        answer = torch.tensor(int(flag), dtype=torch.int32)
        dist.all_reduce(answer, dist.ReduceOp.MAX)
        return bool(answer)

    def agree(self, stop: bool, failed: RunError | None = None) -> bool:
        """Whether any process is to stop, behind work of which each did a share; waits as long as the work takes.

        Args:
            stop: whether this process is.
            failed: why this process could not do its share.

        Raises:
            InStepError: in every process, where none is to stop and a share was not done: what the first of those said.
        """
        if self.alone:
            if failed is not None and not stop:
                raise failed
            return stop
        answer = torch.tensor([int(stop), int(failed is not None)], dtype=torch.int32)
        dist.all_reduce(answer, dist.ReduceOp.MAX, group=self._turns)
        if answer[0] or not answer[1]:
            return bool(answer[0])
        said: list[str | None] = [None] * self.world
        own = None if failed is None else f"process {self.rank} on {socket.gethostname()}: {failed}"
        dist.all_gather_object(said, own, group=self._turns)
        raise InStepError(next(words for words in said if words is not None)) from failed

    def made_by_each(self, work: Callable[[], T]) -> T:
        """What each process makes for itself.

        Raises:
            InStepError: in every process, where it fails with a RunError in one; that RunError where this is alone.
        """
        made, failed = None, None
        try:
            made = work()
        except RunError as error:
            failed = error
        self.agree(False, failed)
        return made  # type: ignore[return-value]

    def made_by_first(self, work: Callable[[], T]) -> T:
        """What rank 0 makes, in every process; the others wait as long as it takes.

        Raises:
            InStepError: in every process, where it fails with a RunError.
        """
        if self.alone:
            return work()
        made, failed = None, None
        if self.is_first:
            try:
                made = work()
            except RunError as error:
                failed = error
        value, said = self.shared((made, None if failed is None else str(failed)))
        if said is not None:
            raise InStepError(said) from failed
        return value  # type: ignore[return-value]

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum of a tensor over all processes; the same bits in each. The tensor itself is left alone."""
        if self.alone:
            return tensor
        total = tensor.detach().clone()
        dist.all_reduce(total)
        return total

    def shared(self, value: T | None = None) -> T:
        """What rank 0 gives, in every process; the others' argument is not looked at, and they wait as it takes."""
        if self.alone:
            return value  # type: ignore[return-value]
        held = [value if self.is_first else None]
        dist.broadcast_object_list(held, src=0, group=self._turns, device=torch.device("cpu"))
        return held[0]  # type: ignore[return-value]

    def barrier(self) -> None:
        """Wait until every process is here, however long rank 0 takes."""
        if not self.alone:
            dist.all_reduce(torch.zeros(1), group=self._turns)

    def share(self, count: int) -> range:
        """This process's contiguous share of `count` things; shares differ by one at most, the first are the larger."""
        small, larger = divmod(count, self.world)
        first = self.rank * small + min(self.rank, larger)
        return range(first, first + small + (self.rank < larger))

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Turn the collective that failed because another process did into what that process said.

        Raises:
            RunError: what it said, instead of the collective's own error.
            LostError: it said nothing.
        """
        try:
            yield
        except Exception as error:
            if self.alone or not _is_echo(error):
                raise
            if told := _told(self._store, self.rank):
                raise RunError(told) from error
            raise LostError(
                f"another process of this run ended without a word (killed?), or hangs: {_line(error)}"
            ) from error


class InStepError(RunError):
    """Work that failed while all processes of the run stand at the same place, so that other work can go on."""


class LostError(RunError):
    """Another process of the run is gone, or hangs, and did not say why: what was computed is kept."""


ALONE = Processes()


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """Join the processes that the environment names, and part again at the end.

    `RANK`, `WORLD_SIZE`, `LOCAL_RANK`, `MASTER_ADDR` and `MASTER_PORT` as `torchrun` sets them, or a submitit job of
    several Slurm tasks; one process otherwise.

    Args:
        device: the CPU, or CUDA: then process k of a machine takes its GPU k, or the only one it sees.

    Raises:
        RunError: the environment is incomplete, the others do not come, GPUs are missing, or another process failed
            (with what it said).
    """
    environment = _environment()
    if environment is None:
        yield Processes(device=device)
        return
    rank, world, local_rank, local_world = environment
    if dist.is_initialized():
        raise RunError("torch.distributed is in use in this process already; one replicate at a time")
    here = _own_device(device, local_rank, local_world)
    store = _join(here, rank, world)
    turns = dist.new_group(backend="gloo", timeout=TURN_TIMEOUT)
    processes = Processes(rank, world, local_rank, local_world, here, turns, store)
    try:
        with processes.explained():
            yield processes
            processes.barrier()  # rank 0 may hold the store: it leaves last
    except BaseException as error:
        _tell(store, rank, error)
        _abandon()
        if processes.is_first and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
            time.sleep(LAST_WORDS)  # it holds the store, where the others are about to look
        raise
    dist.destroy_process_group()


def leads() -> bool:
    """Whether this process will be rank 0, or the only one: known before the others are joined."""
    slurm = os.environ.get("SUBMITIT_EXECUTOR") == "slurm"
    return int(os.environ.get("RANK") or (os.environ.get("SLURM_PROCID") if slurm else None) or 0) == 0


def several() -> bool:
    """Whether this process is one of several: known before they are joined."""
    slurm = os.environ.get("SUBMITIT_EXECUTOR") == "slurm"
    return int(os.environ.get("WORLD_SIZE") or (os.environ.get("SLURM_NTASKS") if slurm else None) or 1) > 1


def _environment() -> tuple[int, int, int, int] | None:
    """(rank, world, local rank, processes on this machine) as the environment says, or None for one process."""
    slurm = os.environ.get("SUBMITIT_EXECUTOR") == "slurm" and int(os.environ.get("SLURM_NTASKS", "1")) > 1
    if "WORLD_SIZE" not in os.environ and slurm:
        from submitit.helpers import TorchDistributedEnvironment

        # Its default would overwrite CUDA_VISIBLE_DEVICES, and two jobs on one machine would share GPU 0.
        TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return None
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise RunError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, but {', '.join(missing)} is not set; start the processes with "
            "torchrun, or unset WORLD_SIZE for one process"
        )
    rank = int(os.environ["RANK"])
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    local_world = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return rank, int(os.environ["WORLD_SIZE"]), local_rank, local_world


def _own_device(device: torch.device, local_rank: int, local_world: int) -> torch.device:
    if device.type != "cuda":
        return device
    visible = torch.cuda.device_count()
    if visible > 1 and local_rank >= visible:
        raise RunError(f"{local_world} processes on this machine, but only {visible} GPUs; start one process a GPU")
    own = torch.device("cuda", local_rank if visible > 1 else 0)
    torch.cuda.set_device(own)
    return own


def _join(device: torch.device, rank: int, world: int) -> dist.Store:
    address = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    try:
        store, _, _ = next(dist.rendezvous("env://", timeout=STEP_TIMEOUT))
        store.set_timeout(STEP_TIMEOUT)
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        gpu = device if device.type == "cuda" else None
        dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=STEP_TIMEOUT, device_id=gpu)
    except (dist.DistError, RuntimeError, ValueError) as error:
        raise RunError(
            f"process {rank} of {world} could not join the others at {address}: {_line(error)}; look at their logs, "
            "and set GLOO_SOCKET_IFNAME to the network interface that the machines share"
        ) from error
    return store


def _abandon() -> None:
    """Let the connections fall without waiting for what is under way, so that the others' collectives fail now."""
    with contextlib.suppress(RuntimeError, dist.DistError):
        dist.distributed_c10d._abort_process_group()


def _tell(store: dist.Store, rank: int, error: BaseException) -> None:
    """Say why this process fails, unless another one said so before."""
    message = f"process {rank} on {socket.gethostname()} failed: {type(error).__name__}: {_line(error)}"
    # The first word stands: the others fail because of it. Rank 0 may have gone with its store, hence the short wait.
    _briefly(lambda: store.compare_set(FAILED, "", message))


def _told(store: dist.Store, rank: int) -> str | None:
    """What another process said when it failed, or None."""
    said = _briefly(lambda: store.get(FAILED).decode() if store.check([FAILED]) else None)
    return said if said and not said.startswith(f"process {rank} on ") else None


def _briefly(ask: Any) -> Any:
    """Ask the store, but not for long: it may be gone."""
    answer: list[Any] = []

    def run() -> None:
        with contextlib.suppress(RuntimeError, dist.DistError):
            answer.append(ask())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(5.0)
    return answer[0] if answer else None


def _is_echo(error: BaseException) -> bool:
    """Whether an error says that a collective failed, which is what a process meets when another one has gone."""
    if isinstance(error, RunError):
        return False
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error).lower())


def _line(error: BaseException) -> str:
    """The first line of an error, without torch's encouragement behind it."""
    return (str(error).strip().splitlines() or [""])[0].split(" This is typically")[0][:500]
