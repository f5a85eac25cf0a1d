"""The code as it is at launch, frozen under the runs: jobs that start hours later run this, not what was edited since.

A git checkout is taken as HEAD plus all uncommitted changes and new source files (what git ignores stays out); an
installed package as its files. A folder a content, so a thousand launches of the same code keep one copy.
"""

import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.errors import RunError
from registry.runs.files import write_atomically
from registry.runs.machine import ROOT

FOLDER = "_code"  # among the runs
ROOMS = ("registry", "components", "experiments", "analysis", "run.py")
SOURCES = ("*.py", "*.yaml", "*.yml")  # of the files that git does not know yet
NOT_RUN = (":!tests", ":!docs")


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
    snapshot = _of_git(store) if _is_checkout() else _of_files(store, ROOT, ROOMS)
    beside = experiment_file.parent.resolve()
    if not plugins:
        return snapshot
    if beside.is_relative_to(ROOT) and (snapshot.folder / beside.relative_to(ROOT)).is_dir():
        frozen = snapshot.folder / beside.relative_to(ROOT)
    else:
        frozen = _of_files(store, beside, tuple(path.name for path in sorted(beside.glob("*.py")))).folder
    return Snapshot(snapshot.folder, snapshot.commit, snapshot.changed, frozen)


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
        new = _git("ls-files", "--others", "--exclude-standard", "-z", "--", *SOURCES, **variables).decode()
        if new:
            _git("add", "--", *filter(None, new.split("\0")), **variables)
        tree = _git("write-tree", **variables).decode().strip()
        folder = store / tree[:16]
        changes = _git("diff", "--cached", "--binary", "HEAD", **variables)
        if not folder.exists():
            archive = _git("archive", "--format=tar", tree, "--", ".", *NOT_RUN, **variables)
            with _in_the_making(folder) as place:
                subprocess.run(["tar", "-xf", "-", "-C", str(place)], input=archive, check=True)
                write_atomically(place / "changes.diff", changes.decode(errors="replace"))
    return Snapshot(folder, commit, bool(changes))


def _of_files(store: Path, root: Path, names: tuple[str, ...]) -> Snapshot:
    """Copies of files and folders, named by their content."""
    files = sorted(
        path
        for name in names
        for path in ([root / name] if (root / name).is_file() else (root / name).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    )
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(root)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    folder = store / digest.hexdigest()[:16]
    if not folder.exists():
        with _in_the_making(folder) as place:
            for path in files:
                target = place / path.relative_to(root)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
    return Snapshot(folder, "", False)


@contextlib.contextmanager
def _in_the_making(folder: Path) -> Iterator[Path]:
    """A folder under another name, renamed when it is whole; whoever is second throws its own away."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix=".making-", dir=folder.parent))
    place.chmod(0o755)
    try:
        yield place
        os.rename(place, folder)
    except OSError:
        if not folder.exists():
            raise
    finally:
        shutil.rmtree(place, ignore_errors=True)
