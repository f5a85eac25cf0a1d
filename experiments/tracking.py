"""MLflow as a view of the run folders: filled from plain files, as often as one likes, and never by training itself."""

import logging
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from registry.errors import RunError
from registry.runs import Replicate

BATCH = 500  # metric points a call; MLflow takes at most 1,000
URI_VARIABLE = "MLFLOW_TRACKING_URI"
STATUS = {"done": "FINISHED", "failed": "FAILED", "interrupted": "KILLED", "running": "RUNNING"}


def default_uri(runs: Path) -> str:
    """The tracking server named by the environment, else an SQLite file among the runs, as an absolute path."""
    return os.environ.get(URI_VARIABLE) or f"sqlite:///{(runs / 'mlflow.db').resolve()}"


def _client(uri: str) -> Any:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # a server that is down is told soon
    from mlflow.tracking import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)  # not a word about every table that it creates
    return MlflowClient(tracking_uri=uri)


def sync(experiment: str, todo: Iterable[Replicate], uri: str) -> dict[str, int]:
    """Bring MLflow to what the run folders say; a second time adds nothing.

    Each replicate is a run tagged with its replicate id; params and tags come from its stored spec, metric points from
    metrics.jsonl. A point whose step MLflow already has is left out, so a resumed run doubles nothing.

    Args:
        experiment: the MLflow experiment.
        todo: replicates; missing ones are passed over.
        uri: the tracking server or SQLite file.

    Returns:
        How many runs were seen, and how many metric points were added.

    Raises:
        RunError: the server cannot be reached, or refuses.
    """
    from mlflow.exceptions import MlflowException

    try:
        return _sync(experiment, [replicate for replicate in todo if replicate.folder.exists()], uri)
    except MlflowException as error:
        raise RunError(f"MLflow at {uri}: {str(error).splitlines()[0]}") from None


def try_sync(experiment: str, todo: Iterable[Replicate], runs: Path) -> str:
    """`sync` to the default place; a server that is down or refuses is told in the text returned, never raised."""
    try:
        sync(experiment, todo, default_uri(runs))
    except Exception as error:  # whatever a tracking server does, the results are there
        return str(error).splitlines()[0] if str(error) else type(error).__name__
    return ""


def _sync(experiment: str, todo: list[Replicate], uri: str) -> dict[str, int]:
    client = _client(uri)
    found = client.get_experiment_by_name(experiment)
    experiment_id = found.experiment_id if found else client.create_experiment(experiment)
    known: dict[str, Any] = {}
    token = None
    while True:
        page = client.search_runs([experiment_id], max_results=1000, page_token=token)
        known |= {run.data.tags.get("replicate", ""): run for run in page}
        token = page.token
        if not token:
            break
    points = sum(_sync_one(client, experiment_id, replicate, known) for replicate in todo)
    return {"runs": len(todo), "points": points}


def _sync_one(client: Any, experiment_id: str, replicate: Replicate, known: dict[str, Any]) -> int:
    from mlflow.entities import Metric, Param, RunTag

    name = f"{replicate.identity}/seed-{replicate.seed}"
    run = known.get(name)
    events = replicate.events()
    if run is None:
        began = int(events[0]["time"] * 1000) if events else int(time.time() * 1000)
        tags = {"replicate": name, "mlflow.runName": replicate.name}
        run = client.create_run(experiment_id, start_time=began, tags=tags, run_name=replicate.name)
    run_id = run.info.run_id
    flat = dict(_flat(replicate.spec.science()))
    params = [Param(key, str(value)[:6000]) for key, value in flat.items() if key not in run.data.params]
    for start in range(0, len(params), 100):
        client.log_batch(run_id, params=params[start : start + 100])
    result = replicate.result() or {}
    tags = {"arm": replicate.arm, "seed": str(replicate.seed), "identity": replicate.identity, "state": replicate.state,
            "folder": str(replicate.folder.resolve())}  # fmt: skip
    tags |= {f"axis.{axis}": label for axis, label in replicate.axes.items()}
    tags |= {f"protocol.{metric_key(name)}": mark for name, mark in result.get("protocols", {}).items()}
    tags |= {"data_digest": result["data_digest"]} if "data_digest" in result else {}
    changed = [RunTag(key, value) for key, value in tags.items() if run.data.tags.get(key) != value]
    if changed:
        client.log_batch(run_id, tags=changed)
    added = _add_points(client, run_id, replicate, Metric)
    status = STATUS.get(replicate.state)
    if status and run.info.status != status:
        ended = int(events[-1]["time"] * 1000) if events and status != "RUNNING" else None
        client.set_terminated(run_id, status, ended) if status != "RUNNING" else client.update_run(run_id, status)
    return added


def _add_points(client: Any, run_id: str, replicate: Replicate, metric: Any) -> int:
    have: dict[str, set[int]] = {}
    points = []
    for line in replicate.metrics():
        for key, value in line.items():
            if key in ("step", "time"):
                continue
            allowed = metric_key(key)
            if allowed not in have:
                have[allowed] = {point.step for point in client.get_metric_history(run_id, allowed)}
            if line["step"] not in have[allowed]:
                have[allowed].add(line["step"])
                points.append(metric(allowed, float(value), int(line["time"] * 1000), line["step"]))
    for start in range(0, len(points), BATCH):
        client.log_batch(run_id, metrics=points[start : start + BATCH])
    return len(points)


def metric_key(name: str) -> str:
    """A score's name as MLflow takes it: it refuses brackets, so `fvd[random_r3d]` becomes `fvd/random_r3d`."""
    return "".join(c if c.isalnum() or c in "_-. :/" else "_" for c in name.replace("[", "/").replace("]", ""))


def _flat(value: Any, prefix: str = "") -> Iterable[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(item, f"{prefix}.{key}" if prefix else key)
    else:
        yield prefix, value
