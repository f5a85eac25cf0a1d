"""`dashboard` as people use it: a server on the right store that ends with Ctrl-C, and plain words where it cannot."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

from registry.runs.machine import ROOT
from tests.cli.command import Launched, run
from tests.fixtures.ports import free_port
from tests.waiting import PATIENCE, until


def asked(base: str, verb: str, question: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        f"{base}/api/2.0/mlflow/{verb}", json.dumps(question).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return json.load(answer)


def test_dashboard_serves_what_was_launched_and_ends_cleanly(launched: Launched, tmp_path: Path) -> None:
    port, said = free_port(), tmp_path / "said.txt"
    command = [sys.executable, str(ROOT / "run.py"), "dashboard", str(launched.file), "--runs", str(launched.runs)]
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    with said.open("w") as out:
        process = subprocess.Popen(
            [*command, "--no-browser", "--port", str(port)], cwd=tmp_path, env=environment, stdout=out, stderr=out,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
        )  # fmt: skip
    try:
        until(lambda: "Ctrl-C" in said.read_text() or process.poll() is not None, "the dashboard says how to end it")
        text = said.read_text()
        page = rf"toy: (http://localhost:{port})/#/experiments/(\d+)/runs\?workflowType=machine_learning"
        found = re.search(page, text)
        assert found, text
        with urllib.request.urlopen(f"{found[1]}/", timeout=PATIENCE) as answer:
            assert answer.status == 200
        runs = asked(found[1], "runs/search", {"experiment_ids": [found[2]], "filter": "tags.kind = 'replicate'"})
        assert len(runs["runs"]) == 4
        again = run("dashboard", launched.file, "--runs", launched.runs, "--no-browser", "--port", port)
        assert (again.code, again.err.count("\n")) == (1, 1)
        assert f"port {port} cannot be had" in again.err
        assert "--port" in again.err
    finally:
        process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 0, said.read_text()
    assert said.read_text().endswith("ended\n")
    with socket.socket() as mine:
        mine.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        mine.bind(("127.0.0.1", port))


def test_a_store_that_no_server_can_open_is_told_plainly(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    (tmp_path / "mlflow.db").write_text("no database at all, but a text that is long enough to be taken for one" * 99)
    told = run("dashboard", "--runs", tmp_path, "--tracking-uri", uri, "--no-browser", "--port", free_port())
    assert told.code == 1
    assert told.err.splitlines() == [
        f"{tmp_path / 'mlflow.db'}: is no SQLite file; the run folders are the truth: move it away, and `sync` again"
    ]


def test_nothing_to_show_is_told(tmp_path: Path) -> None:
    told = run("dashboard", "--runs", tmp_path, "--no-browser")
    assert (told.code, told.err) == (
        1, f"{tmp_path / 'mlflow.db'}: there is nothing to show yet; name an experiment file, or launch one\n",
    )  # fmt: skip
