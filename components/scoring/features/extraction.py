"""Measuring the clips of one side: features into files, by one or several processes, always the same numbers.

Every clip goes through an extractor alone, in float32, on one thread, and its features go to the clip's own rows of a
file. So neither the number of processes nor the size of the batches can change a number, and what was measured
before a failure is there for the next try. Nothing is held in memory but the clips of a batch.

Where several processes run a replicate together, perhaps on several machines, each measures a share into a file of its
own, which the first then brings together: two machines never write into one file.
"""

import hashlib
import json
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol as Shape
from typing import TypeVar

import numpy as np
import torch

from components.precision import tf32
from components.scoring.contracts import BLOCK, Extractor, Features, Metric
from components.scoring.features.clip_selection import Clip
from components.scoring.features.feature_files import Rows
from components.scoring.features.preprocessing import Treatment
from components.scoring.features.sources import Videos
from components.scoring.features.workers import WorkerDiedError, in_processes
from components.scoring.protocol_metrics import build_metrics
from registry.errors import Interrupted, RunError
from registry.parts.catalogue import catalogue
from registry.runs.arrays import problem_of
from registry.runs.machine import usable_cores
from registry.schema.protocol import MEASURING, Protocol

Progress = Callable[[str, int, int], None]
MOST_PROCESSES = 16  # unless more are asked for; on a GPU they share it, and read and decode side by side
CLIPS_A_PROCESS = 128  # from which another process pays

T = TypeVar("T")


class Together(Shape):
    """The processes that measure a side together; `experiments.training.processes` has them."""

    @property
    def rank(self) -> int:
        """This one's number."""

    @property
    def world(self) -> int:
        """How many there are."""

    def shared(self, value: T | None = None) -> T:
        """What rank 0 gives, in every process."""

    def made_by_first(self, work: Callable[[], T]) -> T:
        """What rank 0 makes, in every process; where that fails, it fails in all."""

    def agree(self, stop: bool, failed: RunError | None = None) -> bool:
        """Whether any process is to stop, behind work of which each did a share; what failed in one fails in all."""

    def barrier(self) -> None:
        """Wait for all."""


def never() -> bool:
    """Nobody asks to stop."""
    return False


@dataclass(frozen=True)
class Side:
    """One side of a score, ready to be measured; can be sent to another process."""

    side: str  # `real` or `fake`
    videos: Videos
    clips: tuple[Clip, ...]
    treatment: Treatment
    named: str = ""  # what its features are kept as, where that is not its key

    @cached_property
    def key(self) -> str:
        """Hash of everything that its features depend on but the extractor."""
        digest = hashlib.sha256(json.dumps([MEASURING, self.videos.digest, asdict(self.treatment)]).encode())
        for clip in self.clips:
            digest.update(json.dumps([clip.video.content, *clip.indices]).encode())
        return digest.hexdigest()

    def identity(self, key: str) -> str:
        """Return what a file holds that has the features of this side by an extractor of that key."""
        return f"features of side {self.named or self.key} by {key}"


@dataclass(frozen=True)
class Measuring:
    """How a side is measured; nothing of it changes a number, but `device` does in the last digits.

    `processes` left out is one a core, and fewer for few clips: starting one takes as long as measuring many. Each
    holds `batch_size` clips at once.
    """

    protocol: Protocol
    plugins: tuple[str, ...] = ()
    device: str = "cpu"
    processes: int | None = None
    batch_size: int = 8

    def processes_for(self, clips: int) -> int:
        """How many processes measure so many clips."""
        wanted = self.processes or min(usable_cores(), MOST_PROCESSES, clips // CLIPS_A_PROCESS)
        return max(1, min(wanted, -(-clips // self.batch_size)))


def extractors_of(metrics: Sequence[Metric], side: str) -> dict[str, Extractor]:
    """The extractors that metrics need on a side, by a key that names weights and preprocessing, each once."""
    needed = [metric.extractor for metric in metrics if side == "fake" or metric.needs_reference]
    return {extractor_key(extractor): extractor for extractor in needed}


def extractor_key(extractor: Extractor) -> str:
    """File name of an extractor's features."""
    return f"{extractor.label}-{extractor.fingerprint()[:16]}"


def measure(
    side: Side,
    metrics: Sequence[Metric],
    how: Measuring,
    folder: Path,
    progress: Progress,
    known: tuple[Side, Mapping[str, Features]] | None = None,
    together: Together | None = None,
    stop: Callable[[], bool] = never,
) -> dict[str, Features]:
    """The features of a side by extractor key, measured where they are not yet in the folder.

    Args:
        side: what to measure.
        metrics: say which extractors; built of the same protocol.
        how: processes, batches, device.
        folder: the features' own; it must belong to this side (`Side.key`).
        progress: is called with (what, clips done, clips in all).
        known: another side of the same videos and treatment with its features, from which shared clips are taken.
        together: the processes that all ask for this at once; only rank 0 gets the features, the others none.
        stop: asked after every batch, of all processes that measure together.

    Raises:
        Interrupted: `stop` answered yes; what was measured is kept.
        RunError: the clips are too short for an extractor, a video cannot be read, or a process died; what was
            measured is kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    extractors = extractors_of(metrics, side.side)
    frames = len(side.clips[0].indices)
    for extractor in extractors.values():
        if frames < extractor.minimum_frames:
            short = RunError(
                f"{extractor.label} needs clips of at least {extractor.minimum_frames} frames, not {frames}; take "
                "longer clips (frames=…) or another detector"
            )
            if together is not None:
                together.agree(False, short)  # all know it
            raise short
    first = together is None or together.rank == 0
    missing = _missing(folder, side, extractors, progress) if first else []
    if together is not None and together.world > 1:
        missing = together.shared(missing)
    wanted = {key: extractors[key] for key in missing}
    if wanted and together is not None and together.world > 1:
        _measure_together(side, wanted, frames, how, folder, progress, known, together, stop)
    elif wanted:
        files = _files(folder, side, wanted, frames, known)
        _measure(side, _todo(files), files, wanted, how, progress, stop)
        _bring_together(files, ())
    return _features(side, list(extractors), folder) if first else {}


def _files(
    folder: Path,
    side: Side,
    wanted: Mapping[str, Extractor],
    frames: int,
    known: tuple[Side, Mapping[str, Features]] | None,
) -> dict[str, Rows]:
    """The files of features in the making, with all that was measured before."""
    files = {key: Rows(folder, key, side.identity(key)).make(len(side.clips), frames, e) for key, e in wanted.items()}
    for rows in files.values():
        rows.gather()
    if known is not None:
        _take_shared(side, files, *known)
    return files


def _todo(files: Mapping[str, Rows]) -> list[int]:
    """The clips that some file lacks."""
    return sorted(set[int]().union(*(rows.missing() for rows in files.values())))


def _measure_together(
    side: Side,
    wanted: dict[str, Extractor],
    frames: int,
    how: Measuring,
    folder: Path,
    progress: Progress,
    known: tuple[Side, Mapping[str, Features]] | None,
    together: Together,
    stop: Callable[[], bool],
) -> None:
    """Each process measures every so-manieth clip that is missing; rank 0 brings the rows together."""
    mine, plan = {}, None
    if together.rank == 0:
        mine = _files(folder, side, wanted, frames, known)
        plan = (_todo(mine), uuid.uuid4().hex[:8])  # names that no machine has looked for before: nothing is cached
    todo, token = together.shared(plan)
    if together.rank > 0:
        mine = {
            key: Rows(folder, key, side.identity(key), f"{token}-{together.rank}").make(len(side.clips), frames, e)
            for key, e in wanted.items()
        }
    _measure(side, todo, mine, wanted, how, progress, stop, together)
    together.barrier()
    together.made_by_first(lambda: _bring_together(mine, [f"{token}-{rank}" for rank in range(1, together.world)]))


def _bring_together(files: Mapping[str, Rows], others: Sequence[str]) -> None:
    """Take what the other processes measured, and write the features."""
    for rows in files.values():
        for other in others:
            rows.take(other)
        rows.finish()


def features_in(folder: Path, metrics: Sequence[Metric], side: Side) -> dict[str, Features] | None:
    """The features of a side that are all measured and whole, or None."""
    keys = list(extractors_of(metrics, side.side))
    whole = all(not problem_of(folder / f"{key}.npy", side.identity(key)) for key in keys)
    return _features(side, keys, folder) if whole else None


def _missing(folder: Path, side: Side, keys: Iterable[str], progress: Progress) -> list[str]:
    """The extractors of which there are no features of the side, or only damaged ones, which is told."""
    problems = {key: problem_of(folder / f"{key}.npy", side.identity(key)) for key in keys}
    for key, problem in problems.items():
        if problem and (folder / f"{key}.npy").exists():
            progress(f"measuring again what is damaged: {problem}", 1, 1)
    return [key for key, problem in problems.items() if problem]


def _features(side: Side, keys: Sequence[str], folder: Path) -> dict[str, Features]:
    videos = np.array([clip.video.number for clip in side.clips])
    captions = [clip.video.caption for clip in side.clips]
    return {key: Features(folder / f"{key}.npy", videos=videos, captions=captions) for key in keys}


def _take_shared(side: Side, files: dict[str, Rows], other: Side, features: Mapping[str, Features]) -> None:
    """Rows of clips that another side has measured already."""
    assert side.treatment == other.treatment, "the same clip is the same features only by the same treatment"
    place = {(clip.video.content, clip.indices): number for number, clip in enumerate(other.clips)}
    here = [n for n, clip in enumerate(side.clips) if (clip.video.content, clip.indices) in place]
    for key, rows in files.items():
        for first in range(0, len(here) if key in features else 0, BLOCK):
            numbers = here[first : first + BLOCK]
            there = [place[(side.clips[n].video.content, side.clips[n].indices)] for n in numbers]
            taken = features[key].of(there)
            rows.write(numbers, taken.reshape(len(numbers), -1, taken.shape[-1]))


def _measure(
    side: Side,
    todo: list[int],
    files: dict[str, Rows],
    extractors: dict[str, Extractor],
    how: Measuring,
    progress: Progress,
    stop: Callable[[], bool],
    together: Together | None = None,
) -> None:
    """Measure this process's share of the clips of `todo` into the files; all processes ask equally often."""
    rank, world = (together.rank, together.world) if together is not None else (0, 1)
    shares = [todo[number::world] for number in (rank, 0)]
    (batches, most) = (
        [s[first : first + how.batch_size] for first in range(0, len(s), how.batch_size)] for s in shares
    )
    what, total, before, own = f"measuring {side.side} clips", len(side.clips), len(side.clips) - len(todo), 0
    done, failed = before, None
    progress(what, done, total)
    with closing(_measured(side, batches, files, extractors, how)) as measured:
        for _ in most:  # rank 0 has the largest share
            try:
                own += len(next(measured, []))
            except WorkerDiedError:  # perhaps by what asks this process to stop
                failed = RunError(
                    f"a measuring process died (out of memory, or killed) behind {done} of {total} {side.side} clips; "
                    "they are kept: run it again, with fewer processes or smaller batches if memory was short"
                )
            except RunError as error:
                failed = error
            done = min(total, before + own * world)  # rank 0 speaks for all
            progress(what, done, total)
            if together.agree(stop(), failed) if together is not None else stop():
                raise Interrupted(f"stopped after {done} of {total} measured {side.side} clips")
            if failed is not None:
                raise failed


def _measured(
    side: Side, batches: list[list[int]], files: dict[str, Rows], extractors: dict[str, Extractor], how: Measuring
) -> Generator[list[int], None, None]:
    """Measure batches of clips, in processes of their own if that pays; gives each batch that is measured."""
    processes = how.processes_for(sum(map(len, batches)))
    if processes > 1:
        yield from in_processes(processes, _measurer, (side, files, how), batches)
        return
    with _one_thread():
        for batch in batches:
            _measure_batch(side, batch, files, extractors, how.device)
            yield batch


def _measurer(given: tuple[Side, dict[str, Rows], Measuring]) -> Callable[[list[int]], None]:
    """What a process of its own measures batches with."""
    side, files, how = given
    torch.set_num_threads(1)
    metrics = build_metrics(how.protocol, catalogue(how.plugins))
    extractors = {key: e for key, e in extractors_of(metrics, side.side).items() if key in files}
    return lambda batch: _measure_batch(side, batch, files, extractors, how.device)


def _measure_batch(
    side: Side, batch: list[int], files: dict[str, Rows], extractors: dict[str, Extractor], device: str
) -> None:
    """Read, treat and measure the clips of a batch, and write their rows."""
    clips = [side.clips[number] for number in batch]
    pictures = [side.treatment(side.videos.read(clip.video, clip.indices), clip.video.stored) for clip in clips]
    for key, extractor in extractors.items():
        files[key].write(batch, np.stack([features_of(extractor, clip, device) for clip in pictures]))


def features_of(extractor: Extractor, clip: np.ndarray, device: str = "cpu") -> np.ndarray:
    """Features float32 (rows, D) of one clip uint8 (F, H, W, 3), alone, without autocast, TF32 or choice by trial."""
    kind = torch.device(device)
    with (
        torch.inference_mode(),
        torch.autocast(kind.type, enabled=False),
        tf32(False, kind),
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
    ):
        features = extractor.features(torch.from_numpy(np.ascontiguousarray(clip))[None].to(kind))
    array: np.ndarray = features.float().cpu().numpy()
    rows = array.reshape(-1, array.shape[-1]) if array.size and array.ndim else array.reshape(-1, 1)
    wanted = len(clip) if extractor.rows_per_clip == "frames" else extractor.rows_per_clip
    if rows.shape != (wanted, extractor.dimensions):
        raise RunError(
            f"{extractor.label}: gives {tuple(array.shape)} numbers for one clip instead of "
            f"{(wanted, extractor.dimensions)}; its weights are of another network, or the part states other facts"
        )
    return rows


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread of torch: float32 sums may be ordered otherwise by more of them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
