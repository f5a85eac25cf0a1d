"""The files of sampled clips: which are whole, which clips are missing, and all of them as videos to be scored."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from components.scoring.features.sources import ArrayVideos
from registry.errors import RunError
from registry.runs.arrays import ArrayFile, DamagedError, write_array
from registry.runs.files import write_atomically
from registry.runs.replicate import Replicate

CAPTIONS = "captions.json"  # beside the clips: what each was asked to show, by its number
NAME = re.compile(r"clips-(\d+)-(\d+)\.npy")


class SampleFiles:
    """Sampled clips in a folder, `clips-<first>-<behind the last>.npy`, uint8 (n, F, H, W, 3).

    A file counts if it is whole, holds as many clips as its name says, and was sampled for this very owner; files
    with other names do not count, nor do clips that an earlier file has already.

    Args:
        folder: where they are.
        clips: how many there are to be.
        owner: names what they are samples of; it stands in every file.
    """

    def __init__(self, folder: Path, clips: int, owner: str) -> None:
        self.folder, self.clips, self._owner = folder, clips, owner

    def path(self, numbers: range) -> Path:
        """Return the name of the file with these clips."""
        return self.folder / f"clips-{numbers.start:06d}-{numbers.stop:06d}.npy"

    def write(self, numbers: range, clips: np.ndarray) -> None:
        """Write these clips, uint8 (n, F, H, W, 3), whole or not at all."""
        write_array(self.path(numbers), clips, self._identity(numbers))

    def write_captions(self, captions: Sequence[str]) -> None:
        """Write what each clip is asked to show, by its number; nothing where nobody says."""
        if any(captions):
            write_atomically(self.folder / CAPTIONS, json.dumps(list(captions), indent=0) + "\n")

    def captions(self) -> list[str]:
        """Return what each clip was asked to show, by its number; none where nobody says.

        Raises:
            RunError: the file of captions is there and damaged.
        """
        path = self.folder / CAPTIONS
        try:
            captions = json.loads(path.read_bytes())
        except FileNotFoundError:
            return []
        except ValueError:
            captions = None
        if (
            not isinstance(captions, list)
            or len(captions) != self.clips
            or not all(isinstance(c, str) for c in captions)
        ):
            raise RunError(f"{path}: is not a list of {self.clips} captions; remove it and sample again")
        return captions

    def whole(self, thorough: bool = False) -> list[range]:
        """Return the clips that are there, file by file in ascending order.

        Args:
            thorough: also read all of every file, which takes a second or two for a gigabyte.
        """
        found: list[range] = []
        for numbers in self._named():
            behind = found[-1].stop if found else 0
            if behind <= numbers.start and numbers.stop <= self.clips and not self._problem(numbers, thorough):
                found.append(numbers)
        return found

    def missing(self, size: int, whole: Sequence[range]) -> list[range]:
        """Return the clips that are not among the whole ones, in batches of at most so many.

        Args:
            size: of a batch; an earlier attempt may have had another one.
            whole: as `whole` gives them.
        """
        gaps, at = [], 0
        for numbers in whole:
            gaps.append(range(at, numbers.start))
            at = numbers.stop
        gaps.append(range(at, self.clips))
        return [range(start, min(start + size, gap.stop)) for gap in gaps for start in gap[::size]]

    def remove_others(self, keep: Sequence[range]) -> list[str]:
        """Remove the files named like ours that are not to be kept; returns what was wrong with the damaged ones."""
        problems = []
        for numbers in self._named():
            if numbers not in keep:
                problems.append(self._problem(numbers, thorough=True))
                self.path(numbers).unlink(missing_ok=True)
        return [problem for problem in problems if problem]

    def videos(self) -> ArrayVideos:
        """Return all clips, each a video with the caption that it was asked to show.

        Raises:
            RunError: some are not there, or damaged.
        """
        whole = self.whole()
        if (count := sum(map(len, whole))) < self.clips:
            problems = [f"; {problem}" for numbers in self._named() if (problem := self._problem(numbers))]
            raise RunError(f"{self.folder}: has {count} of its {self.clips} samples{''.join(problems[:1])}")
        videos = ArrayVideos(self.folder, [self.path(numbers) for numbers in whole], self.captions())
        if videos.rejected:
            raise RunError(f"{self.folder}: {': '.join(videos.rejected[0])}")
        return videos

    def _problem(self, numbers: range, thorough: bool = False) -> str:
        """What is wrong with the file of these clips, "" where nothing is."""
        path = self.path(numbers)
        try:
            file = ArrayFile(path, self._identity(numbers))
            if thorough:
                file.verify()
        except DamagedError as error:
            return str(error)
        return "" if len(file.array) == len(numbers) else f"{path}: holds {len(file.array)} clips"

    def _named(self) -> list[range]:
        """The clips that the names of the files promise."""
        return [numbers for numbers in numbers_in(self.folder) if numbers and self.path(numbers).exists()]

    def _identity(self, numbers: range) -> str:
        return f"clips {numbers.start} to {numbers.stop - 1} of {self._owner}"


def numbers_in(folder: Path) -> list[range]:
    """Return the clips that the names of the files in a folder promise, in ascending order."""
    names = (NAME.fullmatch(path.name) for path in folder.glob("clips-*.npy"))
    promised = (range(int(name[1]), int(name[2])) for name in names if name)
    return sorted(promised, key=lambda numbers: (numbers.start, numbers.stop))


def files_of(replicate: Replicate, folder: Path) -> SampleFiles:
    """Return the files of a replicate's sampled clips in a folder."""
    sampling = replicate.spec.sampling
    seeds = f"seed {replicate.seed}, sampling seed {sampling.seed}"
    return SampleFiles(folder, sampling.clips, f"{replicate.identity}, {seeds}")
