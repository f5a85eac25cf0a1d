"""Tracking servers that are not what they should be: slow without end, or answering whatever they are asked."""

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from experiments.tracking.threads import by_threads
from registry.runs.machine import ROOT
from tests.cli.command import run
from tests.fixtures.tracked import replicates
from tests.waiting import PATIENCE


@contextlib.contextmanager
def serving(answer: Any) -> Iterator[str]:
    """A server whose every answer is `answer(path)`: text, or bytes one by one without end; its address."""
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            text = answer(self.path)
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text) if text is not None else 10**9))
            self.end_headers()
            self.wfile.write((text or "").encode())
            with contextlib.suppress(OSError):  # who asked has gone
                while text is None and not over.wait(0.1):
                    self.wfile.write(b" ")

        do_GET = do_POST = do_PATCH = do_DELETE = handle_any  # noqa: N815 (http.server names them so)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def forgetful(path: str) -> str:
    """A server that has the experiment, takes every run, and has none of them when it is asked."""
    if "/runs/create" in path:
        return json.dumps({"run": {"info": {"run_id": "r1", "run_uuid": "r1", "experiment_id": "1"}, "data": {}}})
    if "/experiments/get-by-name" in path:
        return json.dumps({"experiment": {"experiment_id": "1", "name": "toy", "lifecycle_stage": "active"}})
    return "{}"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda path: "{}", "it answers, but not as MLflow does: it has no experiment 'toy'"),
        (forgetful, "it took 2 runs and does not have 2 of them, such as baseline seed 0"),
    ],
    ids=["empty answers", "forgetful"],
)
def test_a_server_that_says_yes_to_everything(tmp_path: Path, answer: Any, told: str) -> None:
    replicates(tmp_path, "toy")
    with serving(answer) as uri:
        words = (tmp_path / "toy.yaml", "--only", "baseline", "--runs", tmp_path / "runs", "--tracking-uri", uri)
        found = run("sync", *words)
        assert (found.code, found.out, found.err) == (1, "", f"MLflow at {uri}: {told}\n")


SYNC = """
import sys
from pathlib import Path
from experiments.tracking.mlflow_sync import try_sync
from tests.fixtures.toy_replicates import plan_of
plan = plan_of(Path(sys.argv[1]), only=["baseline"])
print(try_sync(plan.name, plan.replicates, plan.runs, lambda what, done, total: print(what, flush=True), 1.0))
"""


def test_a_server_that_never_comes_to_an_end_is_left(tmp_path: Path) -> None:
    """And the process ends, although threads of its still wait for an answer."""
    replicates(tmp_path, "toy")
    with serving(lambda path: None) as uri:
        done = subprocess.run(
            [sys.executable, "-c", SYNC, str(tmp_path)], cwd=ROOT, env={"MLFLOW_TRACKING_URI": uri}, check=False,
            capture_output=True, text=True, timeout=PATIENCE,
        )  # fmt: skip
    assert done.returncode == 0, done
    assert done.stdout.splitlines() == [
        f"filling MLflow at {uri}, for 1 s at most",
        f"MLflow at {uri}: it has not taken everything within 1 s",
    ]


def test_threads_answer_in_order_and_the_first_error_is_raised() -> None:
    assert by_threads(lambda number: number * 2, range(9), 4) == list(range(0, 18, 2))
    assert by_threads(str, [], 4) == []
    with pytest.raises(KeyError):
        by_threads({1: 1}.__getitem__, [1, 2, 1], 1)
