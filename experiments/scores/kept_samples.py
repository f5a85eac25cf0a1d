"""Which arrays of sampled clips stay once they are scored (`runtime.keep_samples`), and how the others come back.

    all     every file
    shown   the files that hold the clips of the previews
    none    no file
    auto    all of them up to 1 GB, else those shown (2,048 clips of 16x256x256 are 6.4 GB)

Scores, previews and checkpoints stay in any case. A clip depends on the checkpoint, the seeds and its number, so what
was dropped can be sampled again: the same bit for bit on the same kind of processor, with the same
`runtime.sampling_batch`.
"""

from collections.abc import Callable
from pathlib import Path

import torch

from experiments.record.progress import Progress
from experiments.sampling.previews import SHOWN, sample_files
from experiments.sampling.trainings import sample
from experiments.training.checkpoints import path_of
from registry.errors import RunError
from registry.runs.replicate import Replicate
from registry.schema.spec import KeepSamples

KEEP_ALL_BYTES = 10**9  # `auto` keeps all files where they take no more together
AGAIN = "--sample-again"  # the option of `score` that brings dropped samples back


def kept_of(samples: Path, rule: KeepSamples) -> list[Path]:
    """Return the files of sampled clips that a rule keeps.

    Args:
        samples: folder of `clips-<first>-<behind the last>.npy`.
        rule: as `runtime.keep_samples` says.
    """
    files = sample_files(samples)
    if rule == "auto":
        rule = "all" if sum(path.stat().st_size for _, path in files) <= KEEP_ALL_BYTES else "shown"
    return [path for numbers, path in files if rule == "all" or (rule == "shown" and numbers.start < SHOWN)]


def drop_samples(samples: Path, rule: KeepSamples, result: Path) -> list[Path]:
    """Remove the files of sampled clips that a rule does not keep, once their scores are written; return them.

    Args:
        samples: folder of `clips-<first>-<behind the last>.npy`.
        rule: as `runtime.keep_samples` says.
        result: the file that holds the scores of these samples.

    Raises:
        RunError: there are no scores yet, or a file cannot be removed.
    """
    if not result.is_file():
        raise RunError(f"{samples}: no sample is dropped before there is {result}")
    kept = kept_of(samples, rule)
    dropped = [path for _, path in sample_files(samples) if path not in kept]
    for path in dropped:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise RunError(f"{path}: cannot be removed: {error.strerror}") from None
    return dropped


def missing_samples(replicate: Replicate) -> str:
    """Return why a replicate's sampled clips are not all there and what brings them back; "" where they are."""
    there = sum(len(numbers) for numbers, _ in sample_files(replicate.folder / "samples"))
    wanted, rule = replicate.spec.sampling.clips, replicate.spec.runtime.keep_samples
    if there >= wanted:
        return ""
    has = f"{replicate.folder}: has {there} of its {wanted} samples"
    if replicate.state != "done":
        return f"{has}; launch it again" if there else f"{replicate.folder}: has no samples yet; launch it first"
    has += f"; the others were dropped once they were scored (runtime.keep_samples: {rule})"
    if not _last_checkpoint(replicate).exists():
        return f"{has}, and cannot be sampled again, since its checkpoint {_last_checkpoint(replicate).name} is gone"
    return f"{has}; {AGAIN} samples them again from its checkpoint, bit for bit the same"


def sample_again(replicate: Replicate, device: torch.device, stop: Callable[[], bool], progress: Progress) -> None:
    """Bring back what was dropped of a finished replicate's samples; where nothing was, nothing is done.

    Args:
        replicate: is done.
        device: where to sample.
        stop: asked after every batch.
        progress: is called with (what, clips done, clips in all).

    Raises:
        Interrupted: `stop` answered yes; what was sampled stays.
        RunError: the replicate is not done, or its checkpoint is gone.
    """
    problem = missing_samples(replicate)
    if problem and (replicate.state != "done" or not _last_checkpoint(replicate).exists()):
        raise RunError(problem)
    if problem:
        sample(replicate, device, stop, progress)


def _last_checkpoint(replicate: Replicate) -> Path:
    return path_of(replicate.training, replicate.spec.step)
