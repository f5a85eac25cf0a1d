"""A folder of sampled clips to be looked at: drawn in batches, filmed, and told of in `samples.json`.

    samples.json          what was sampled and how, with the SHA-256 of every file (`registry.runs.records.Samples`)
    videos/clip-000000.mp4, …          the clips one by one, 8 frames a second
    arrays/clips-000000-000016.npy, …  the same as they were drawn, uint8 (n, F, H, W, 3), in batches
    contact_sheet.png     evenly spaced frames of the first clips, by class
    captions/             embeddings of the captions that were written for them (`--captions`)
    samples.gif           the first clips playing side by side, for a README
    grid-4x4.png, .mp4, .gif  the first 16 clips: their middle frames as one picture, and playing (`--grid 4x4`)

The same command goes on behind the last batch. A folder holds clips of one setting: another is refused.
"""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from components.scoring.features.workers import WorkerDiedError, in_processes
from components.weights import sha256_of
from experiments.record.code_digests import of_evaluation
from experiments.record.progress import Progress, silent
from experiments.record.recording import machine, write_json
from experiments.sampling.drawing import Drawing, draw, missing_batches, refuse_unless_computed
from experiments.sampling.filmed_files import ARRAYS, VIDEOS, FilmedFiles
from experiments.sampling.pictures import write_pictures
from experiments.sampling.requests import Wanted
from experiments.sampling.sample_files import numbers_in
from experiments.sampling.trainings import drawing_of
from experiments.training.devices import device_named
from experiments.training.processes import Processes, joined
from registry.errors import Interrupted, RunError, SpecError
from registry.runs.files import locked
from registry.runs.machine import threads_of
from registry.runs.records import SampledClip, Samples, read_record, sealed
from registry.schema.differences import differing

MOST_CELLS = 400  # of a grid: all its frames are in memory
SAMPLES_FOLDER = "_samples"  # under the runs, where no folder is named
ABOUT = "samples.json"


@dataclass(frozen=True)
class Place:
    """Where clips go and who draws them; nothing of it changes a clip.

    Attributes:
        out: the folder; left out, one of the settings' own under the runs.
        runs: folder of all runs.
        device: `auto`, `cpu` or `cuda`.
        processes: that draw at once on the processors of this machine.
        grid: rows and columns of a further picture.
    """

    out: Path | None = None
    runs: Path = Path("runs")
    device: str = "auto"
    processes: int = 1
    grid: tuple[int, int] | None = None


def sample_into_folder(wanted: Wanted, place: Place, progress: Progress = silent) -> tuple[Path, Samples | None]:
    """Draw the clips that are wanted and not there yet, film them, and return the folder and what it holds then.

    Under torchrun the processes take turns at the batches; only the first returns what the folder holds.

    Raises:
        SpecError: a grid of more clips than are wanted, or processes beside each other on a GPU.
        RunError: the folder holds clips of other settings, or something else; or something cannot be written.
        Interrupted: by Ctrl-C; what was made stays.
    """
    if place.grid is not None and (cells := place.grid[0] * place.grid[1]) > wanted.spec.sampling.clips:
        rows, columns = place.grid
        raise SpecError(f"--grid: {rows}x{columns} needs {cells} clips, and --num is {wanted.spec.sampling.clips}")
    if place.grid is not None and cells > MOST_CELLS:
        raise SpecError(f"--grid: a picture of {cells} clips is more than the {MOST_CELLS} that are drawn at once")
    with joined(device_named(place.device)) as processes:
        if place.processes > 1 and (processes.device.type != "cpu" or not processes.alone):
            raise SpecError("--processes: is for processors; start one process a GPU with torchrun --nproc-per-node")
        refuse_unless_computed(wanted.precision, processes.device)
        if wanted.spec.runtime.threads is not None:
            torch.set_num_threads(wanted.spec.runtime.threads)
        if not processes.is_first:
            agreed: tuple[Path, int, list[range]] = processes.shared()
            folder, num, batches = agreed
            files = FilmedFiles(folder, num, _owner(wanted.settings()))
            draw(drawing(wanted, folder, processes.device), files, batches, _never, silent, processes)
            return folder, None
        settings = wanted.settings()
        folder = place.out or place.runs / SAMPLES_FOLDER / _name(wanted, settings)
        with locked(folder, lambda: progress("waiting for another process that samples into this folder", 0, 1)):
            return folder, _Work(folder, wanted, settings).done(place, processes, progress)


def drawing(wanted: Wanted, folder: Path, device: torch.device) -> Drawing:
    """Return what the clips that are wanted are drawn with.

    Args:
        wanted: what is drawn.
        folder: of the clips.
        device: where they are drawn.

    Raises:
        RunError: weights cannot be had, or do not fit.
    """
    source, spec = wanted.source, wanted.spec
    network, decoder = source.network(spec, device), source.decoder(spec).to(device)
    one = drawing_of(spec, network, decoder, source.seed, device)
    captions = wanted.embedded(folder, device)
    return replace(one, labels=wanted.labels, precision=wanted.precision, captions=captions)


class _Work:
    """What the process does that keeps the record.

    Args:
        folder: locked.
        wanted: what is drawn.
        settings: all that a clip depends on.
    """

    def __init__(self, folder: Path, wanted: Wanted, settings: dict[str, Any]) -> None:
        self.folder, self.wanted, self.settings = folder, wanted, settings
        self.before = told(folder, settings)
        drawn = max((numbers.stop for numbers in numbers_in(folder / ARRAYS)), default=0)
        self.num = max(wanted.spec.sampling.clips, drawn)  # what is there already stays
        self.files = FilmedFiles(folder, self.num, _owner(settings))
        self.files.remove_halves()
        self.code = {name: digest for name, digest in of_evaluation(wanted.spec).items() if "scoring" not in name}

    def done(self, place: Place, processes: Processes, progress: Progress) -> Samples:
        """Return what the folder holds when all is drawn, filmed and pictured."""
        about: dict[str, Any] = {"device": str(processes.device)}
        try:
            self._note(about)
            self._draw(place.processes, processes, progress)
            self.files.film({clip.number: clip.sha256 for clip in self.before.clips} if self.before else {})
            about["pictures"] = self._picture(place.grid)
        except KeyboardInterrupt:
            there = f"{len(self._note(about).clips)} of {self.num} clips in {self.folder}"
            raise Interrupted(f"stopped with {there}; the same command goes on from there") from None
        return self._note(about)

    def _draw(self, beside: int, processes: Processes, progress: Progress) -> None:
        size = self.wanted.spec.runtime.sampling_batch
        batches = missing_batches(self.files, size, progress)
        processes.shared((self.folder, self.num, batches))
        if beside > 1 and len(batches) > 1:
            self._draw_beside(min(beside, len(batches)), batches, progress)
        elif batches or not processes.alone:
            one = drawing(self.wanted, self.folder, processes.device)
            draw(one, self.files, batches, _never, progress, processes)

    def _draw_beside(self, count: int, batches: list[range], progress: Progress) -> None:
        """Draw in processes of this machine, which take the batches one by one."""
        given = _Given(self.folder, self.wanted, self.num, _owner(self.settings), threads_of(count))
        done = self.num - sum(map(len, batches))
        progress("sampling", done, self.num)
        try:
            for numbers in in_processes(count, begin, given, batches):
                done += len(numbers)
                progress("sampling", done, self.num)
        except WorkerDiedError:
            raise RunError(
                f"{self.folder}: a process that samples was killed (out of memory?); what was made stays, and the same "
                "command goes on: with a smaller --batch, or fewer --processes"
            ) from None

    def _picture(self, grid: tuple[int, int] | None) -> dict[str, str]:
        source = self.wanted.source
        title = source.title if source.step is None else f"{source.title}, step {source.step}"
        new = write_pictures(self.folder, self.wanted.names, title, grid, bool(self.wanted.captions))
        earlier = self.before.pictures if self.before else {}
        stay = {name: digest for name, digest in earlier.items() if (self.folder / name).exists()}
        return {**stay, **{path.name: sha256_of(path) for path in new}}

    def _note(self, about: dict[str, Any]) -> Samples:
        """Write down what there is, and return it."""
        labels, captions, names, clips = self.wanted.labels, self.wanted.captions, self.wanted.names, []
        for number, path in self.files.filmed():
            label = labels[number % len(labels)] if labels else None
            clips.append(SampledClip(
                number=number, label=label, name="" if label is None else names[number % len(names)],
                caption=captions[number % len(captions)] if captions else "",
                file=str(path.relative_to(self.folder)), sha256=sha256_of(path),
            ))  # fmt: skip
        pictures = about.get("pictures", self.before.pictures if self.before else {})
        samples = Samples(
            source=str(self.wanted.source.path), settings=self.settings, num=self.num, clips=clips, pictures=pictures,
            notes=list(self.wanted.notes), device=about["device"], batch=self.wanted.spec.runtime.sampling_batch,
            code=self.code, machine=machine(),
        )  # fmt: skip
        write_json(self.folder / ABOUT, sealed(samples.model_dump(mode="json")))
        return samples


@dataclass(frozen=True)
class _Given:
    """What a process needs that draws beside others."""

    folder: Path
    wanted: Wanted
    num: int
    owner: str
    threads: int


def begin(given: _Given) -> Callable[[range], object]:
    """Return what draws a batch, in a process of its own."""
    if "OMP_NUM_THREADS" not in os.environ and given.wanted.spec.runtime.threads is None:
        torch.set_num_threads(given.threads)
    own = drawing(given.wanted, given.folder, torch.device("cpu"))
    files = FilmedFiles(given.folder, given.num, given.owner)
    return lambda numbers: files.write(numbers, own.clips(numbers))


def told(folder: Path, settings: dict[str, Any]) -> Samples | None:
    """Return what a folder says of the clips in it, None where it is new.

    Raises:
        RunError: its clips are of other settings, or it holds something else.
    """
    about = read_record(folder / ABOUT, Samples)
    if about is None:
        if other := sorted(path.name for path in folder.iterdir() if not _is_of_a_start(path)):
            raise RunError(f"{folder}: holds {other[0]} and no {ABOUT}; give a folder of its own (--out)")
        return None
    if found := [f"{key}: {then} there, {now} now" for key, then, now in differing(about.settings, settings)]:
        raise RunError(f"{folder}: holds clips of other settings: {'; '.join(found)}; give another folder (--out)")
    return about


def _is_of_a_start(path: Path) -> bool:
    """Whether a process that was killed before it wrote anything may have left this in its folder."""
    return path.name.startswith(".") or (path.name in (ARRAYS, VIDEOS) and path.is_dir() and not any(path.iterdir()))


def _owner(settings: dict[str, Any]) -> str:
    return "settings " + hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _name(wanted: Wanted, settings: dict[str, Any]) -> str:
    """A folder's name that no other settings have."""
    plain = "".join(c if c.isalnum() or c in "=._-" else "-" for c in wanted.source.title)[:80]
    return f"{plain}-{_owner(settings).split()[1][:8]}"


def _never() -> bool:
    return False
