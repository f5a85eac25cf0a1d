"""Run a scripted network in a child process that is watched, since a network that is a program may never answer.

The child loads the file, says so, and answers each call with an array or with what went wrong. A child that does not
answer in time is killed. A child ends with the process that started it, whatever the network is doing; signals that
ask to end are for that process alone.
"""

import contextlib
import json
import math
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from components.scoring.features.workers import SIGNALS
from registry.errors import RunError, SpecError

VARIABLE = "LATTE_WORKBENCH_NETWORK_SECONDS"
SECONDS = 600.0  # for one clip, where the variable does not say otherwise; the largest known take a minute on one core
START = 300.0  # seconds that the child may take beyond that to start and import torch, on a slow disk


class GuardedNetwork:
    """A scripted network in a child process; it is called like the network itself, and gives float32.

    Args:
        path: the TorchScript file.

    Raises:
        RunError: the file cannot be loaded, or not in time.
        SpecError: the environment variable that limits the time is not a number of seconds.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.seconds = path, _limit()
        self._device = "cpu"
        self._process = _started(path)
        self._receive(START + self.seconds)

    def to(self, device: torch.device | str) -> "GuardedNetwork":
        """Run on that device from the next call on, and return this network."""
        self._device = str(device)
        return self

    def __call__(self, inputs: Tensor, **settings: bool) -> Tensor:
        """Return what the network answers, float32, on the device of the inputs.

        Raises:
            RunError: it fails, dies, or does not answer in time.
        """
        array = np.ascontiguousarray(inputs.detach().cpu().numpy())
        about = {"device": self._device, "settings": settings, "threads": torch.get_num_threads()}
        stdin = self._process.stdin
        assert stdin is not None
        try:
            _send(stdin, about, array)
        except OSError:
            raise self._lost() from None
        return self._receive(self.seconds).to(inputs.device)

    def _receive(self, seconds: float) -> Tensor:
        """The next answer of the child, waited for so many seconds at most."""
        until, content = time.monotonic() + seconds, bytearray()
        stdout = self._process.stdout
        assert stdout is not None
        about: dict[str, Any] | None = None
        while about is None or len(content) < about["bytes"]:
            if not select.select([stdout], [], [], max(0.0, until - time.monotonic()))[0]:
                self._kill()
                raise RunError(
                    f"{self.path}: the network has not answered for {seconds:g} s and was stopped; if it needs longer "
                    f"for one clip, set {VARIABLE}"
                )
            piece = os.read(stdout.fileno(), 2**20)
            if not piece:
                raise self._lost()
            content += piece
            if about is None and b"\n" in content:
                head, _, content = content.partition(b"\n")
                about = json.loads(head)
        if "error" in about:
            raise RunError(about["error"])
        return torch.from_numpy(np.frombuffer(content, about["dtype"]).reshape(about["shape"]).copy())

    def _lost(self) -> RunError:
        self._kill()
        code = self._process.returncode
        return RunError(f"{self.path}: the network took its process down (exit code {code}); out of memory, or killed")

    def _kill(self) -> None:
        self._process.kill()
        self._process.wait()


def _limit() -> float:
    given = os.environ.get(VARIABLE, "")
    try:
        seconds = float(given or SECONDS)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise SpecError(f"{VARIABLE}: {given!r} is not a number of seconds")
    return seconds


def _started(path: Path) -> "subprocess.Popen[bytes]":
    """The child, which sees the same modules as this process and has signals that ask to end blocked."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    code = "import sys; from components.scoring.scripted_process import serve; serve(sys.argv[1])"
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        return subprocess.Popen(
            [sys.executable, "-c", code, str(path.absolute())],
            env=environment,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _send(out: Any, about: dict[str, Any], array: np.ndarray) -> None:
    more = {"shape": array.shape, "dtype": array.dtype.str, "bytes": array.nbytes}
    for content in (json.dumps({**about, **more}).encode() + b"\n", array.tobytes()):
        view = memoryview(content)
        while view:  # an unbuffered pipe may take a part
            view = view[out.write(view) :]


def serve(path: str) -> None:
    """The child: load the network and answer every call that comes in, until the input ends."""
    # What the network prints goes to standard error; the answers go through a copy of standard output.
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    calls: queue.SimpleQueue[tuple[dict[str, Any], bytes]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, calls), daemon=True).start()
    from components.scoring.scripted_file import load_scripted

    nothing = np.zeros(0, np.float32)
    try:
        network = load_scripted(Path(path))
        _send(out, {}, nothing)
    except RunError as error:
        _send(out, {"error": str(error)}, nothing)
        return
    while True:
        about, content = calls.get()
        try:
            _send(out, {}, _answer(network, about, content))
        except Exception as error:  # whatever the network does is told
            last = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            _send(out, {"error": last}, nothing)


def _listen(calls: BinaryIO, found: "queue.SimpleQueue[tuple[dict[str, Any], bytes]]") -> None:
    """Hand on the calls; end the process, whatever the network is doing, when nobody can call any more."""
    with contextlib.suppress(ValueError, OSError):
        while head := calls.readline():
            about = json.loads(head)
            found.put((about, calls.read(about["bytes"])))
    os._exit(0)


def _answer(network: Any, about: dict[str, Any], content: bytes) -> np.ndarray:
    """What the network gives, as clips are measured: on so many threads, without autocast, TF32 or choice by trial."""
    from components.scoring.scripted_file import as_written

    torch.set_num_threads(about["threads"])
    inputs = torch.from_numpy(np.frombuffer(content, about["dtype"]).reshape(about["shape"]).copy())
    with (
        as_written(),
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
    ):
        found = network.to(about["device"])(inputs.to(about["device"]), **about["settings"])
    if not isinstance(found, Tensor):
        raise RunError(f"one tensor is expected, not a {type(found).__name__}")
    return np.ascontiguousarray(found.float().cpu().numpy())
