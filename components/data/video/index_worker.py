"""Index files in a child process that is watched, since a decoder can hang or take its process down.

The child gets one path a line and answers in lines of JSON: `{}` while it is at work, then the index by PyAV, then what
became of the check of decord. A child that is silent for too long is killed; one that hangs or dies in decord costs the
file only decord. A file that loses its child in PyAV is tried once more: if it hangs or crashes the decoder again, it
costs the file; if the child was killed, or out of memory, again, the file may be healthy and the machine is short of
memory, so indexing fails. Either way the next file gets a new child.
"""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any

from components.data.video.frame_folder import index_folder
from components.data.video.index import Decoded, decode_all, decord_agrees, why_not_decord
from components.data.video.reader import VideoError, VideoIndex, decord_is_installed
from registry.errors import RunError

SILENCE = 60.0  # seconds without a sign of life after which a child counts as hung
KILLED = (-signal.SIGKILL, -signal.SIGTERM)  # exit codes of a child that something else has ended
START = 300.0  # seconds that a child may take to start and import its libraries, on a slow disk


def index_video(path: Path, silence: float = SILENCE) -> VideoIndex:
    """Index one video file or frame folder in a guarded child.

    Raises:
        VideoError: it cannot be read; the reason, with the path.
        RunError: the child was killed twice.
    """
    with IndexWorker(silence) as worker:
        index, reason, _ = worker.inspect(path)
    if index is None:
        raise VideoError(f"{path}: {reason}")
    return index


def index_videos(
    paths: Sequence[Path], workers: int = 1, silence: float = SILENCE
) -> Iterator[tuple[Path, VideoIndex | None, str, bool]]:
    """Index many with several children; yields (path, index or None, reason, repeatable) as they are done.

    Raises:
        RunError: the children of some files were killed twice; all others were yielded before.
    """
    idle: queue.SimpleQueue[IndexWorker] = queue.SimpleQueue()
    guards = [IndexWorker(silence) for _ in range(max(1, min(workers, len(paths))))]
    for guard in guards:
        idle.put(guard)

    def inspect(path: Path) -> tuple[Path, VideoIndex | None, str, bool]:
        guard = idle.get()
        try:
            return path, *guard.inspect(path)
        finally:
            idle.put(guard)

    pool, killed = ThreadPoolExecutor(len(guards)), list[RunError]()
    try:
        for done in as_completed([pool.submit(inspect, path) for path in paths]):
            try:
                found = done.result()
            except RunError as error:
                killed.append(error)
                continue
            yield found
    finally:
        for guard in guards:
            guard.close()
        pool.shutdown(cancel_futures=True)
    if killed:
        raise RunError("\n".join(map(str, killed[:3])) + (f"\nand {len(killed) - 3} more" if len(killed) > 3 else ""))


class IndexWorker:
    """A child that indexes one file after another, started when needed and replaced when lost.

    Args:
        silence: seconds without a sign of life after which it is killed.
    """

    def __init__(self, silence: float = SILENCE) -> None:
        self.silence = silence
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._closed = False

    def __enter__(self) -> "IndexWorker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def inspect(self, path: Path) -> tuple[VideoIndex | None, str, bool]:
        """(index, "", repeatable), or (None, reason, repeatable); not repeatable where the child was lost.

        Raises:
            RunError: the child was killed twice.
        """
        try:
            return self._inspect(path)
        except _ChildLostError:  # perhaps by what the machine was busy with
            try:
                return self._inspect(path)
            except _ChildLostError as lost:
                if not lost.killed:
                    return None, f"the decoder {lost}", False
                raise RunError(
                    f"{path}: the decoder {lost}, twice. The video may be healthy, so it is not left out: make room in "
                    "memory, and run it again; what was indexed is kept"
                ) from None

    def _inspect(self, path: Path) -> tuple[VideoIndex | None, str, bool]:
        """One try; _ChildLostError where there is no index."""
        index: VideoIndex | None = None
        try:
            self._send(path)
            while True:
                answer = self._answer(self.silence)
                if "reason" in answer:
                    return None, answer["reason"], True
                if "memory" in answer:
                    raise _ChildLostError("ran out of memory", killed=True)
                if "index" in answer:
                    index = VideoIndex.from_dict(answer["index"])
                if "reader" in answer and index is not None:
                    return replace(index, reader=answer["reader"]), "", True
        except _ChildLostError as lost:
            self._stop()
            if index is None:
                raise
            note = "; ".join(filter(None, [index.note, f"decord {lost}"]))
            return replace(index, reader="pyav", note=note), "", True

    def close(self) -> None:
        """End the child."""
        self._closed = True
        self._stop()

    def _send(self, path: Path) -> None:
        if self._closed:
            raise _ChildLostError("was stopped")
        if self._process is None:
            # The child sees the same modules as this process, wherever it was started from.
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
            command = [sys.executable, "-c", "from components.data.video.index_worker import serve; serve()"]
            pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
            self._process = subprocess.Popen(command, env=environment, text=True, encoding="utf-8", **pipes)
            self._lines = queue.SimpleQueue()
            threading.Thread(target=_forward, args=(self._process, self._lines), daemon=True).start()
            self._answer(START)
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(os.fspath(path)) + "\n")
            self._process.stdin.flush()
        except OSError:
            raise _ChildLostError("died") from None

    def _answer(self, limit: float) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=limit)
        except queue.Empty:
            raise _ChildLostError(f"hung for {limit:g} s and was stopped") from None
        if line is None:
            code = self._process.wait() if self._process is not None else None
            if self._closed:
                raise _ChildLostError("was stopped")
            if code in KILLED:
                raise _ChildLostError("was killed (out of memory?)", killed=True)
            raise _ChildLostError(f"took its process down (exit code {code})")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):  # what was written to a dead child is of no interest
                        pipe.close()


class _ChildLostError(Exception):
    """The child is gone; says what it did, and whether something else than the file may have ended it."""

    def __init__(self, deed: str, killed: bool = False) -> None:
        super().__init__(deed)
        self.killed = killed


def _forward(process: "subprocess.Popen[str]", lines: "queue.SimpleQueue[str | None]") -> None:
    """Hand on the child's lines, then None at its end; reading with a time limit needs a thread on every system."""
    assert process.stdout is not None
    try:
        for line in process.stdout:
            lines.put(line)
    except ValueError:  # closed by _stop
        pass
    lines.put(None)


def serve() -> None:
    """The child: answer every path that comes in, until the input ends."""
    # Libraries may print to standard output; the answers go through a copy of it, the rest to standard error.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def tell(answer: dict[str, Any]) -> None:
        out.write(json.dumps(answer) + "\n")
        out.flush()

    told = time.monotonic()

    def alive() -> None:
        nonlocal told
        if time.monotonic() - told > 0.5:
            told = time.monotonic()
            tell({})

    with contextlib.suppress(Exception):  # what is wrong with it, every file will tell
        import av  # noqa: F401 - now, while the guard waits for a start: on a busy machine it takes its time
    tell({})
    for line in sys.stdin:
        try:
            _inspect(Path(json.loads(line)), tell, alive)
        except VideoError as error:
            tell({"reason": str(error)})
        except MemoryError:
            tell({"memory": "short"})
        except Exception as error:  # whatever a broken file does to a library is a reason to reject it
            tell({"reason": f"cannot be read ({type(error).__name__}: {error})"})


def _inspect(path: Path, tell: Any, alive: Any) -> None:
    if path.is_dir():
        tell({"index": index_folder(path, alive).to_dict()})
        tell({"reader": "pictures"})
        return
    decoded = decode_all(path, alive)
    tell({"index": decoded.index.to_dict()})
    tell({"reader": "decord" if not why_not_decord(decoded) and _decord_agrees(path, decoded, alive) else "pyav"})


def _decord_agrees(path: Path, decoded: Decoded, alive: Any) -> bool:
    try:
        return decord_is_installed() and decord_agrees(path, decoded, alive)
    except Exception:  # a decord that cannot even be imported, or fails in a way of its own, is one not to be used
        return False
