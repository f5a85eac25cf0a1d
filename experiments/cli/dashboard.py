"""The verb that shows results in a browser: dashboard."""

import contextlib
import os
import signal
import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from experiments.cli.options import RUNS, completed, plans_of, verb
from registry.errors import RunError

if TYPE_CHECKING:
    from experiments.plan.plan import Plan


@click.command()
@click.option(
    "--tracking-uri", help="MLflow server or store; left out: $MLFLOW_TRACKING_URI, else sqlite in the runs folder."
)
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True, help="Of the server here.")
@click.option("--no-browser", is_flag=True, help="Only print the addresses.")
@RUNS
@click.argument(
    "words", nargs=-1, metavar="[FILE]... [KEY.PATH=VALUE]...", shell_complete=completed("files_and_overrides")
)
@verb(on_experiment=False)
def dashboard(words: tuple[str, ...], runs: Path, tracking_uri: str | None, port: int, no_browser: bool) -> None:
    """Show results in MLflow's pages: bring what is new of FILE, start a server, and open the page; Ctrl-C ends it.

    Where the store is a server already none is started. A server that is started listens on this machine only.
    """
    from analysis.results.mlflow_names import file_of, without_secrets
    from experiments.cli.console import say
    from experiments.tracking import server, store

    plans = plans_of(words, {"runs": runs, "assembled": False}) if words else []
    uri = tracking_uri or store.default_uri(runs)
    if not words and (file := file_of(uri)) is not None and not file.exists():
        raise RunError(f"{file}: there is nothing to show yet; name an experiment file, or launch one")
    with contextlib.ExitStack() as stack:
        process, base = None, uri
        if not store.is_server(uri):
            server.check_free(port)  # before anything takes long
        _bring(plans, uri)
        if not store.is_server(uri):
            say("starting the MLflow server …")
            signal.signal(signal.SIGTERM, _interrupt)
            base = f"http://localhost:{port}"
            try:
                process = stack.enter_context(server.serving(uri, runs, port))
            except KeyboardInterrupt:
                return say("ended")
        addresses = _addresses(plans, base, uri)
        for name, address in addresses:
            say(f"{name}: {without_secrets(address)}")
        sys.stdout.flush()  # who reads through a pipe is to see it while the server runs
        if not no_browser:
            _open(addresses[0][1])
        if process is not None:
            _wait(process, port)


def _bring(plans: "list[Plan]", uri: str) -> None:
    from experiments.cli.console import say
    from experiments.tracking import mlflow_sync

    for found in plans:
        told = mlflow_sync.sync(found.name, found.with_trials, uri, waiting=lambda who: say(f"waits for {who}"))
        say(f"{found.name}: {told['runs']} runs, {told['points']} metric points added")


def _addresses(plans: "list[Plan]", base: str, uri: str) -> list[tuple[str, str]]:
    from experiments.tracking import mlflow_sync, store

    asked_first = sorted(plans, key=lambda found: bool(found.start_of))  # the first page is opened
    pages = [(found.name, mlflow_sync.address_of(found.name, base, uri)) for found in asked_first]
    return [page for page in pages if page[1]] or [("all experiments", store.address(base, None))]


def _open(address: str) -> None:
    """Open the page in a browser with a window; in a session over SSH say how to reach it from elsewhere."""
    from experiments.cli.console import say

    windows = sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if windows and not os.environ.get("SSH_CONNECTION"):
        webbrowser.open(address)
    else:
        say("no browser with a window here; docs/mlflow.md says how to look from another machine")


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def _wait(process: Any, port: int) -> None:
    """Wait until somebody wants no more of it.

    Raises:
        RunError: the server ended by itself.
    """
    from experiments.cli.console import say

    tunnel = f"ssh -N -L {port}:localhost:{port} {os.uname().nodename}"
    say(f"only this machine reaches it: from another, `{tunnel}` and the same address there; Ctrl-C ends it")
    try:
        process.wait()
    except KeyboardInterrupt:
        return say("ended")
    raise RunError(f"the MLflow server ended by itself, with exit code {process.returncode}")
