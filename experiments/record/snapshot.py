"""The code as it is at launch, frozen under the runs: jobs that start hours later run this, not what was edited since.

A git checkout is taken as HEAD plus all uncommitted changes and new source files (what git ignores stays out); an
installed package as its files. A folder a content, so a thousand launches of the same code keep one copy. Its name is
the hash of `contents.sha256`, which has the hash of every file: no edited, missing or added file runs unnoticed.
"""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.errors import RunError
from registry.parts.sources import ROOMS
from registry.runs.files import write_atomically
from registry.runs.machine import ROOT
from registry.runs.places import TRAININGS

FOLDER = "_code"  # among the runs
CONTENTS = "contents.sha256"  # in a snapshot: the hash of every file, as `sha256sum --check` reads it
CHANGES = "changes.diff"  # in a snapshot: what was not committed
IMPORTED = (".py", ".pyc", ".so")  # what Python would import, whether it belongs there or not
SOURCES = ("*.py", "*.yaml", "*.yml")  # of the files that git does not know yet
NOT_RUN = (":!tests", ":!docs")
NOT_OF_RUNS = tuple(f":(exclude,glob)**/{name}/**" for name in (FOLDER, TRAININGS))  # of runs within the checkout


@dataclass(frozen=True)
class Snapshot:
    """Frozen code.

    Args:
        folder: where it lies.
        commit: HEAD when it was taken, empty without git.
        changed: whether there were uncommitted changes; they are in `changes.diff`.
        beside: folder of plugins that lie beside the experiment file, frozen as well.
    """

    folder: Path
    commit: str
    changed: bool
    beside: Path | None = None

    @property
    def tree(self) -> str:
        """Hash of the content; the folder's name."""
        return self.folder.name

    @property
    def python_path(self) -> str:
        """PYTHONPATH of whoever is to run this code."""
        found = [str(self.folder), *([str(self.beside)] if self.beside else [])]
        return os.pathsep.join([*found, *filter(None, [os.environ.get("PYTHONPATH")])])

    def environment(self) -> dict[str, str]:
        """Variables under which `python -m` runs this code and not that of the folder it is started in."""
        return {"PYTHONPATH": self.python_path, "PYTHONSAFEPATH": "1"}

    def about(self) -> dict[str, Any]:
        """What a run folder's provenance says of the code: the folders below `_code`, and what they are of."""
        about = {"commit": self.commit, "changed": self.changed, "snapshot": self.tree}
        return about | ({"plugins": place_of(self.beside)} if self.beside else {})


def freeze(runs: Path, experiment_file: Path, plugins: bool = False) -> Snapshot:
    """Freeze the code under `runs/_code/`, and the modules beside the experiment file if it names plugins.

    Raises:
        RunError: git fails on the checkout.
    """
    store = (runs / FOLDER).resolve()
    snapshot = _of_git(store) if _is_checkout() else _of_files(store, ROOT, (*ROOMS, "run.py"))
    beside = experiment_file.parent.resolve()
    if not plugins:
        return snapshot
    modules = _modules(beside)
    frozen = snapshot.folder / beside.relative_to(ROOT) if beside.is_relative_to(ROOT) else None
    if frozen is None or not all((frozen / name).is_file() for name in modules):  # git may ignore some of them
        frozen = _of_files(store, beside, modules).folder
    return Snapshot(snapshot.folder, snapshot.commit, snapshot.changed, frozen)


def _modules(folder: Path) -> tuple[str, ...]:
    """The modules that lie in a folder, which alone a plug-in can be or import."""
    return tuple(sorted(path.name for path in folder.glob("*.py") if path.stem.isidentifier()))


def code_of(root: Path) -> str | None:
    """The snapshot that lies in a folder, or None where the code runs from elsewhere."""
    return root.name if root.parent.name == FOLDER else None


def place_of(path: Path) -> str:
    """Where a file or folder of frozen code lies below `_code`, empty for what is not frozen."""
    above = next((parent for parent in path.parents if parent.name == FOLDER), None)
    return path.relative_to(above).as_posix() if above else ""


def _is_checkout() -> bool:
    return (ROOT / ".git").exists() and shutil.which("git") is not None


def _git(*words: str, **variables: str) -> bytes:
    done = subprocess.run(["git", *words], cwd=ROOT, env=os.environ | variables, capture_output=True, check=False)
    if done.returncode:
        raise RunError(f"git {words[0]} fails in {ROOT}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def _of_git(store: Path) -> Snapshot:
    """HEAD with the working tree's changes, as a tree object of an index and an object store of our own."""
    commit = _git("rev-parse", "HEAD").decode().strip()
    objects = _git("rev-parse", "--git-path", "objects").decode().strip()
    with tempfile.TemporaryDirectory() as scratch:
        variables = {
            "GIT_INDEX_FILE": f"{scratch}/index",
            "GIT_OBJECT_DIRECTORY": f"{scratch}/objects",
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": str((ROOT / objects).resolve()),
        }
        Path(scratch, "objects").mkdir()
        _git("read-tree", "HEAD", **variables)
        _git("add", "--update", **variables)
        which = ("--others", "--exclude-standard", "-z", "--", *SOURCES, *NOT_OF_RUNS)
        new = _git("ls-files", *which, **variables).decode()
        if new:
            _git("add", "--", *filter(None, new.split("\0")), **variables)
        tree = _git("write-tree", **variables).decode().strip()
        changes = _git("diff", "--cached", "--binary", "HEAD", **variables)
        archive = _git("archive", "--format=tar", tree, "--", ".", *NOT_RUN, **variables)
    with _in_the_making(store) as place:
        subprocess.run(["tar", "-xf", "-", "-C", str(place)], input=archive, check=True)
        folder = _kept(store, place, changes.decode(errors="replace"))
    return Snapshot(folder, commit, bool(changes))


def _of_files(store: Path, root: Path, names: tuple[str, ...]) -> Snapshot:
    """Copies of files and folders."""
    with _in_the_making(store) as place:
        for name in names:
            if (root / name).is_dir():
                shutil.copytree(root / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
            elif (root / name).exists():
                shutil.copyfile(root / name, place / name)
        return Snapshot(_kept(store, place), "", False)


@contextlib.contextmanager
def _in_the_making(store: Path) -> Iterator[Path]:
    """A folder under another name, which is gone behind the block unless it was renamed."""
    store.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix=".making-", dir=store))
    place.chmod(0o755)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _kept(store: Path, place: Path, changes: str = "") -> Path:
    """Give whole code the name of its content, or make whole by it what lies under that name."""
    paths = sorted(path.relative_to(place) for path in place.rglob("*") if path.is_file())
    listing = "".join(f"{_hash((place / path).read_bytes())}  {path}\n" for path in paths)
    write_atomically(place / CONTENTS, listing)
    write_atomically(place / CHANGES, changes)
    folder = store / _hash(listing.encode())[:16]
    try:
        os.rename(place, folder)
    except OSError:
        if not folder.is_dir():
            raise
        if damage := damage_of(folder):
            print(f"freezing the code again: {damage}", file=sys.stderr, flush=True)
            _make_whole(folder, place, [*paths, Path(CONTENTS)])
    return folder


def _make_whole(folder: Path, whole: Path, paths: Sequence[Path]) -> None:
    """Put every file of whole code in the place of what is there, and remove what would be imported besides."""
    for added in _importable(folder) - set(paths):
        (folder / added).unlink()
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        os.replace(whole / path, folder / path)


def damage_of(folder: Path) -> str:
    """Return which file of a snapshot is not as it was frozen, empty where all are."""
    try:
        listing = (folder / CONTENTS).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return f"{folder / CONTENTS}: cannot be read"
    if _hash(listing.encode())[:16] != folder.name:
        return f"{folder / CONTENTS}: was changed"
    listed = {Path(path): mark for mark, _, path in (line.partition("  ") for line in listing.split("\n") if line)}
    for path, mark in listed.items():
        try:
            content = (folder / path).read_bytes()
        except OSError as error:
            return f"{folder / path}: {'is missing' if isinstance(error, FileNotFoundError) else error.strerror}"
        if _hash(content) != mark:
            return f"{folder / path}: was changed"
    added = sorted(_importable(folder) - listed.keys())
    return f"{folder / added[0]}: was added" if added else ""


def damage_here() -> str:
    """Return which file of the frozen code that this process runs is not as it was frozen, empty where all are."""
    places = (Path(place) for place in sys.path)
    return next((damage for place in places if place.parent.name == FOLDER and (damage := damage_of(place))), "")


def _importable(folder: Path) -> set[Path]:
    """Files of a snapshot that Python may import, besides the compiled ones that it keeps for itself."""
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.suffix in IMPORTED)
    return {path for path in files if "__pycache__" not in path.parts}


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
