"""The results of experiments as one small archive: what tables, verdicts and curves are made of, without the weights.

    python -m analysis.reading.packed_results runs 'small-*' --out results.tar.xz

Unpacked (`tar xf`), it is a folder `runs` that every verb reads back. What it leaves out is what takes room:
checkpoints, samples, videos and reports, which `report` makes again but for the videos.
"""

import argparse
import os
import sys
import tarfile
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from analysis.reading.loading import RUNS, launched
from registry.errors import RunError
from registry.runs.files import atomic
from registry.runs.places import EVALUATIONS

TEXT = (".json", ".jsonl", ".yaml", ".txt")  # files that hold results; the rest can be made of them or is too large
NO_RESULT = ("log.txt", "heartbeat.json")  # what was of use while it ran


def named(runs: Path, names: str) -> list[str]:
    """Return the experiments in a folder of all runs whose names fit a pattern.

    Raises:
        RunError: there is none.
    """
    every = launched(runs)
    found = [name for name in every if fnmatchcase(name, names)]
    if not found:
        raise RunError(f"{runs}: no experiment {names!r} was launched, but {', '.join(every) or 'nothing'}")
    return found


def pack(runs: Path, names: Sequence[str], to: Path) -> Path:
    """Write the archive of experiments, the same bytes for the same results; return its path.

    Args:
        runs: the folder of all runs.
        names: those of the experiments.
        to: the archive, replaced if it is there.

    Raises:
        OSError: it cannot be written.
    """
    files = [path for name in names for path in _members(runs / name)]
    evaluations = {path.resolve() for path in files if path.is_symlink()}
    members = {f"{RUNS}/{path.relative_to(runs)}": path for path in files}
    for training in {path.parent.parent for path in evaluations if path.parent.name == EVALUATIONS}:
        members |= {f"{RUNS}/{path.relative_to(runs.resolve())}": path for path in _members(training)}
    with atomic(to) as file, tarfile.open(fileobj=file, mode="w:xz", format=tarfile.PAX_FORMAT) as archive:
        for name, path in sorted(members.items()):
            archive.add(path, name, recursive=False, filter=_anonymous)
    return to


def _members(folder: Path) -> Iterator[Path]:
    """Every link and every file with results below a folder."""
    for parent, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = Path(parent, name)
            if path.is_symlink() or (path.suffix in TEXT and name not in NO_RESULT and path.is_file()):
                yield path


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Leave out whose file it is and when it was written."""
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    member.mode = 0o644
    return member


def arguments(description: str, out: str) -> argparse.ArgumentParser:
    """Return the parser of a program about experiments of a folder of runs: `runs`, `names` and `--out`.

    Args:
        description: of the program.
        out: what it writes.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("runs", type=Path, help="the folder of all runs")
    parser.add_argument("names", help="of experiments: a pattern such as 'small-*'")
    parser.add_argument("--out", type=Path, required=True, help=out)
    return parser


def main(words: list[str] | None = None) -> None:
    given = arguments(
        "Pack the results of experiments, without weights and samples.", "the archive, .tar.xz"
    ).parse_args(words)
    try:
        print(pack(given.runs, named(given.runs, given.names), given.out))
    except (OSError, RunError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
