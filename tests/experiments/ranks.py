"""Several processes that work together, started from a test; each runs the same function and gives back a value."""

import multiprocessing
import os
import pickle
import socket
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._dynamo  # the first optimiser imports it, and takes seconds

import experiments.sharding  # noqa: F401
from experiments.gradients import gathering, meeting
from experiments.processes import Processes, joined
from experiments.replicate import how_measured, open_data
from experiments.sampling import sample
from experiments.scoring import score
from experiments.training import Trainer, train
from registry.assemble import Assembly
from registry.errors import Interrupted
from registry.runs import open_replicate
from tests.experiments.toy import never, nothing

CPU = torch.device("cpu")
SECONDS = 600  # a bound of last resort
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.experiments.ranks"])  # torch is imported once


def together(world: int, work: Callable[..., Any], *arguments: Any, environment: dict[str, str] | None = None) -> list:
    """What `work(processes, *arguments)` gives in each of so many processes.

    An exception is given as its name and text, and None of a process that died.

    Args:
        world: how many processes.
        work: importable.
        arguments: of `work`.
        environment: variables of each process, `{rank}` filled in; torchrun's if left out.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    plain = {"RANK": "{rank}", "LOCAL_RANK": "{rank}", "WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1"}
    with tempfile.TemporaryDirectory() as given:
        paths = [Path(given) / f"{rank}.pickle" for rank in range(world)]
        started = [
            _context.Process(target=_run, args=(rank, environment or plain, port, paths[rank], work, arguments))
            for rank in range(world)
        ]
        for process in started:
            process.start()
        for process in started:
            process.join(SECONDS)
            process.kill()
        return [pickle.loads(path.read_bytes()) if path.exists() else None for path in paths]


def _run(rank: int, environment: dict[str, str], port: str, given: Path, work: Any, arguments: Any) -> None:
    torch.set_num_threads(1)
    os.environ.update({name: value.format(rank=rank) for name, value in environment.items()}, MASTER_PORT=port)
    try:
        with joined(CPU) as processes:
            value = work(processes, *arguments)
    except BaseException as error:
        traceback.print_exc()
        value = f"{type(error).__name__}: {error}"
    given.write_bytes(pickle.dumps(value))


def noisy(moments: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
    """Latents drawn around the moments, as those of a variational autoencoder are; the toy's own are exact."""
    return moments + 0.1 * torch.randn(moments.shape, generator=generator)


def train_on(processes: Processes, folder: Path, stop_at: int | None = None) -> Any:
    """Train a replicate, to a step if one is given; returns its state and final validation losses."""
    replicate = open_replicate(folder)
    trainer = Trainer(replicate, *open_data(replicate), CPU, processes)
    trainer.draw_latents = noisy
    final: dict[str, float] | None = None
    try:
        # Only the last process is asked to stop: all must agree.
        asked = stop_at is not None and processes.rank == processes.world - 1
        final = train(trainer, (lambda step: step >= (stop_at or 0)) if asked else never, nothing)
    except Interrupted:
        assert stop_at is not None
    state = trainer.state()
    return (state, final) if processes.is_first else (state["step"], final)


def train_several(processes: Processes, turns: list[tuple[Path, int | None]]) -> list[Any]:
    """Train replicates one after the other, each to its step or, without one, to its end."""
    return [train_on(processes, folder, stop_at) for folder, stop_at in turns]


def sample_and_score(processes: Processes, folder: Path, stops: bool = False) -> Any:
    """Sample a trained replicate's clips and score them; each stopped after the first turn, if the last is asked to."""
    replicate = open_replicate(folder)
    spec, prepared = replicate.spec, open_data(replicate)[0]

    def last_only() -> bool:
        return processes.rank == processes.world - 1

    if stops:
        with pytest.raises(Interrupted, match="stopped after 6 of 7"):
            sample(replicate, CPU, last_only, nothing, processes=processes)
    sample(replicate, CPU, never, nothing, processes=processes)
    how, samples, features = how_measured(spec, CPU), folder / "samples", folder / "features"
    metrics = Assembly(spec).metrics()
    if stops:
        with pytest.raises(Interrupted, match=r"stopped after .* measured"):
            score(spec, samples, prepared, metrics, how, features, nothing, processes, last_only)
    found, _ = score(spec, samples, prepared, metrics, how, features, nothing, processes)
    return found.values, found.details(), found.protocols


def ask(processes: Processes) -> Any:
    """What the questions between processes answer."""
    flags = [processes.any(processes.rank == wanted) for wanted in (0, processes.world - 1, processes.world)]
    numbers = torch.tensor([1.0, processes.rank])
    total = processes.sum(numbers)
    assert numbers.tolist() == [1.0, processes.rank]
    processes.barrier()
    word = processes.shared({"of": processes.rank} if processes.is_first else None)
    return flags, total.tolist(), word, list(processes.share(5)), processes.local_rank, str(processes.device)


def fail(processes: Processes, how: str, folder: Path) -> None:
    """The last process fails in the middle of a step of the others."""
    replicate = open_replicate(folder)
    trainer = Trainer(replicate, *open_data(replicate), CPU, processes)
    trainer.train_step()
    if processes.rank == processes.world - 1:
        if how == "raises":
            raise ValueError("a bad disk\nand more")
        os._exit(9)
    trainer.train_step()


def train_with_an_idle_layer(processes: Processes) -> Any:
    """Two accumulated steps of a network with a layer that plays no part: its gradient, and that of the other layer."""
    torch.manual_seed(0)
    network = torch.nn.ModuleList([torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)])
    network.forward = lambda x: network[0](x)  # type: ignore[method-assign]
    wrapped = gathering(network, lambda: network(torch.zeros(1, 3)), CPU)
    for _ in range(2):
        network.zero_grad(set_to_none=True)
        for last in (False, True):
            with meeting(wrapped, last):
                wrapped(torch.full((1, 3), 1.0 + processes.rank)).sum().backward()
    return network[0].weight.grad.tolist(), network[1].weight.grad, wrapped.find_unused_parameters
