"""What is seen in videos, in words: a CSV beside them with the columns `path` and `caption`.

Paths are relative to the CSV's folder. A video that the CSV does not name has no caption; one that it names and that is
not there is listed as rejected, so that a misspelt name is seen.
"""

from dataclasses import replace
from pathlib import Path, PurePosixPath

from components.data.datasets import Source
from components.data.datasets.tables import rows
from registry.errors import SpecError

FILE = "captions.csv"


def with_captions(sources: list[Source], root: Path) -> list[Source]:
    """Return the sources of a folder with the captions of its `captions.csv`, sorted by path; unchanged without one.

    Raises:
        SpecError: the file cannot be used; with file:line.
    """
    file = root / FILE
    if not file.is_file():
        return sources
    captions = read_captions(file)
    there = {source.path for source in sources}
    lost = [Source(path, "", "", "", f"named in {FILE}, but there is none") for path in captions if path not in there]
    found = [replace(source, caption=captions.get(source.path, "")) for source in sources]
    return sorted([*found, *lost], key=lambda source: source.path)


def read_captions(file: Path) -> dict[str, str]:
    """Return the caption of each path that a captions CSV names; other columns are not read.

    Raises:
        SpecError: no such column, a path that is absolute, leads out of the folder or is named twice, or no caption.
    """
    captions: dict[str, str] = {}
    for line, row in rows(file, ("path", "caption")):
        path, caption = row["path"], row["caption"] or ""
        name = PurePosixPath(path)
        if name.is_absolute() or ".." in name.parts or not name.parts:
            raise SpecError(f"{file}:{line}: {path} is not the path of a video below {file.parent}")
        if not caption.strip():
            raise SpecError(f"{file}:{line}: {path} has no caption; leave the line out")
        if name.as_posix() in captions:
            raise SpecError(f"{file}:{line}: {path} is named twice")
        captions[name.as_posix()] = caption.strip()
    return captions
