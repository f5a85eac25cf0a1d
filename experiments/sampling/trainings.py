"""Sampling the clips of a training: those that are scored, from the weights, seeds and sampler that its spec says.

Batches are written as they are made, so that an interrupted run goes on behind the last one.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from components.assembly import Assembly
from components.data.autoencoders import Decoder
from components.diffusion.respacing import executed_steps
from components.model.latte import Latte
from experiments.record.progress import Progress
from experiments.record.recording import prepared_data
from experiments.sampling.captions import asked, of_training
from experiments.sampling.drawing import Drawing, draw, missing_batches, see_all
from experiments.sampling.sample_files import files_of
from experiments.training.checkpoints import Origin, path_of, read_written
from experiments.training.open_data import open_decoder
from experiments.training.processes import ALONE, Processes
from registry.errors import RunError
from registry.runs.replicate import Replicate
from registry.runs.stored import read_spec
from registry.schema.spec import Spec


def sample(
    replicate: Replicate,
    device: torch.device,
    stop: Callable[[], bool],
    progress: Progress,
    folder: Path | None = None,
    processes: Processes = ALONE,
) -> None:
    """Sample the spec's clips into `samples/`, uint8 (n, F, H, W, 3) a file; go on where an earlier attempt stopped.

    Args:
        replicate: a trained replicate.
        device: where to sample.
        stop: asked after every batch, of all processes.
        progress: is called with (what, clips done, clips in all).
        folder: another place than `samples/`.
        processes: those that share out the batches.

    Raises:
        Interrupted: `stop` answered yes.
        RunError: there is no checkpoint of the step, or a process does not see what the others wrote.
    """
    spec, folder = replicate.spec, folder or replicate.folder / "samples"
    folder.mkdir(exist_ok=True)
    files = files_of(replicate, folder)
    size = spec.runtime.sampling_batch
    batches = processes.shared(missing_batches(files, size, progress) if processes.is_first else None)
    if not batches:
        see_all(files, processes)
        return
    if processes.is_first:
        files.write_captions(asked(spec, replicate.training))

    def prepared() -> Drawing:
        network = trained_network(spec, replicate.training, replicate.seed, device, processes)
        decoder = open_decoder(spec, replicate.training).to(device)
        drawing = drawing_of(spec, network, decoder, replicate.seed, device)
        return replace(drawing, captions=of_training(spec, replicate.training))

    draw(processes.made_by_each(prepared), files, batches, stop, progress, processes)


def drawing_of(spec: Spec, network: Latte, decoder: Decoder, seed: int, device: torch.device) -> Drawing:
    """Return what a spec's clips are drawn with; all classes take turns, and captions are to be added.

    Args:
        spec: says sampler, guidance, sampling seed, precision, and the shape of a clip.
        network: in eval mode, on the device.
        decoder: of what the network draws, on the device.
        seed: of the training; each has clips of its own.
        device: where to draw.

    Raises:
        SpecError: sampler and objective do not go together, or shapes do not.
    """
    assembly, sampler = Assembly(spec), spec.sampling.sampler
    assert sampler, "resolved"
    return Drawing(
        network=network,
        sampler=assembly.sampler(assembly.objective()),
        decoder=decoder,
        latent_shape=assembly.latent_shape(),
        stream=(spec.sampling.seed, seed),
        labels=tuple(range(spec.model.classes)),
        guidance=spec.sampling.guidance,
        precision=spec.runtime.precision,
        tf32=spec.runtime.tf32,
        device=device,
        steps=executed_steps(str(sampler.parameters.get("steps", 1))),
    )


def trained_network(spec: Spec, training: Path, seed: int, device: torch.device, processes: Processes = ALONE) -> Latte:
    """Return the network of a step of a training, with the weights that the spec says are sampled, in eval mode.

    Args:
        spec: of the training; its sampling says step and weights.
        training: its folder.
        seed: of the training.
        device: where the network goes.
        processes: those that all read the checkpoint.

    Raises:
        RunError: there is no checkpoint of that step that can be believed, or its weights do not fit the spec's shapes.
    """
    data = prepared_data(training)  # which says what they were, wherever they are now
    # What is drawn may be of another shape than what was trained, so the training is that of its folder.
    origin = Origin(read_spec(training).training, seed, data.digest if data is not None else "")
    state = read_written(path_of(training, spec.step), origin, processes, device)
    model: Latte = Assembly(spec).model()
    # Fixed tables are not averaged: a training's average has none, that of an imported file may have.
    load_fitting(model, {**state["model"], **(state["ema"] if spec.sampling.weights == "ema" else {})})
    return model.to(device).eval()


def load_fitting(model: Latte, weights: Mapping[str, Tensor]) -> None:
    """Load weights into a network that may be built for clips of another shape: its fixed tables are then its own.

    Raises:
        RunError: learned entries are of another shape, missing, or left over; they are named.
    """
    own, fixed = model.state_dict(), {name for name, _ in model.named_buffers()}
    other = [name for name in own if name in weights and weights[name].shape != own[name].shape]
    wrong = [
        f"{name} is {tuple(weights[name].shape)}, here {tuple(own[name].shape)}" for name in other if name not in fixed
    ]
    wrong += [f"{name} is missing" for name in own if name not in weights]
    wrong += [f"{name} has no place" for name in weights if name not in own]
    if wrong:
        more = f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise RunError(f"the weights do not fit a network of this shape: {'; '.join(wrong[:3])}{more}")
    model.load_state_dict({**weights, **{name: own[name] for name in other}})
