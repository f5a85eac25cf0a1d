"""MLflow as a view of the run folders: filled from plain files, as often as one likes, and never by training itself."""

import logging
import math
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from analysis.mixed_code import mixed_code
from experiments.record.lease import Lease, leased
from experiments.record.progress import Progress, silent
from experiments.record.recording import bound_code
from experiments.tracking.metric_points import MetricsFile, Points, flat, metric_key, missing
from experiments.tracking.threads import by_threads
from registry.errors import RunError
from registry.runs.code_used import made_by
from registry.runs.files import write_atomically
from registry.runs.records import Event, MadeBy, State
from registry.runs.run_folder import Replicate

URI_VARIABLE = "MLFLOW_TRACKING_URI"
FOLDER = "_sync"  # in the folder of all runs, by experiment: whose turn it is to sync, and the origin of its runs
PATIENCE = 900.0  # seconds that a sync waits for another one of the same experiment
LIMIT = 60.0  # seconds that the end of a launch waits for a tracking server, or for another sync
POINTS, PARAMS = 800, 100  # a call; MLflow takes at most 1,000 items, of which 100 params
THREADS = 4  # that talk to a server; an SQLite file has one writer
STATUS: dict[State, str] = {
    State.MISSING: "SCHEDULED",
    State.QUEUED: "SCHEDULED",
    State.PAUSED: "SCHEDULED",
    State.RUNNING: "RUNNING",
    State.INTERRUPTED: "KILLED",
    State.CANCELLED: "KILLED",
    State.STOPPED: "KILLED",
    State.FAILED: "FAILED",
    State.DAMAGED: "FAILED",
    State.DONE: "FINISHED",
}
# Tag of a run: the state of metrics.jsonl that the run holds, no more and no less; PARTIAL where that is not sure.
SYNCED, PARTIAL = "synced", "partial"
LONGEST = {"tag": 5000, "param": 6000}  # characters


def default_uri(runs: Path) -> str:
    """The tracking server named by the environment, else an SQLite file among the runs, as an absolute path."""
    return os.environ.get(URI_VARIABLE) or f"sqlite:///{(runs / 'mlflow.db').resolve()}"


def _client(uri: str) -> Any:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # two lines for every run that ends
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # a server that is down is told soon
    from mlflow.tracking import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)  # not a word about every table that it creates
    return MlflowClient(tracking_uri=uri)


def sync(
    experiment: str,
    todo: Iterable[Replicate],
    uri: str,
    patience: float = PATIENCE,
    waiting: Callable[[str], None] | None = None,
) -> dict[str, int]:
    """Bring MLflow to what the run folders say; a second time adds nothing, and after any failure it goes on.

    Each replicate is a run, known by its replicate id and the origin of its experiment's folder; params and tags come
    from its files, metric points from metrics.jsonl. One process at a time syncs an experiment's folder.

    Args:
        experiment: the MLflow experiment.
        todo: replicates of one experiment; those without a run folder are passed over.
        uri: the tracking server or SQLite file.
        patience: seconds to wait for another sync of the same folder.
        waiting: is told once which process that is.

    Returns:
        How many runs were seen, and how many metric points were added.

    Raises:
        RunError: the server cannot be reached, or refuses.
    """
    from mlflow.exceptions import MlflowException
    from requests import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    seen = [replicate for replicate in todo if replicate.link.exists()]
    if not seen:
        return {"runs": 0, "points": 0}
    owner = seen[0].link.parents[1]  # the experiment's folder
    folder = owner.parent / FOLDER / owner.name
    with _store_alone(uri, patience, waiting), leased(folder, patience, waiting) as lease:
        try:
            importer = _Importer(_client(uri), experiment, _origin(folder), lease, _mixed_code(seen))
            points = importer.run(seen, at_once=THREADS if uri.startswith("http") else 1)
        except (MlflowException, RequestException, SQLAlchemyError, _UnlikeMlflowError) as error:
            raise RunError(f"MLflow at {uri}: {_first_line(error)}") from None
    return {"runs": len(seen), "points": points}


def try_sync(
    experiment: str, todo: Iterable[Replicate], runs: Path, progress: Progress = silent, limit: float = LIMIT
) -> str:
    """`sync` to the default place; a server that is down, slow or refuses is told in the text returned, never raised.

    What a slow server has not taken within the limit is left to a later `sync`.

    Args:
        experiment: the MLflow experiment.
        todo: replicates of one experiment.
        runs: the folder of all runs.
        progress: is told that a server, or another sync, is waited for.
        limit: seconds to wait for a server; a file is filled however long it takes.
    """
    uri, told = default_uri(runs), [""]

    def work() -> None:
        try:
            sync(experiment, todo, uri, limit, lambda who: progress(f"waiting for {who}, which fills MLflow", 0, 1))
        except Exception as error:  # whatever a tracking server does, the results are there
            told[0] = _first_line(error)

    if not uri.startswith("http"):
        work()
        return told[0]
    progress(f"filling MLflow at {uri}, for {limit:.0f} s at most", 0, 1)
    worker = threading.Thread(target=work, daemon=True)  # which ends with this process, wherever it is
    worker.start()
    worker.join(limit)
    return f"MLflow at {uri}: it has not taken everything within {limit:.0f} s" if worker.is_alive() else told[0]


class _UnlikeMlflowError(Exception):
    """What answers is not MLflow."""


def _first_line(error: Exception) -> str:
    text = next(iter(str(error).strip().splitlines()), type(error).__name__)
    if "Invalid Host header" in text:
        text += "; start the server with --allowed-hosts and this address, with its port (docs/mlflow.md)"
    return text


def _store_alone(uri: str, patience: float, waiting: Callable[[str], None] | None) -> AbstractContextManager[Any]:
    """Nobody else writes to the same SQLite file, for whatever experiment: on a shared folder it bears one writer."""
    if not uri.startswith("sqlite:///"):
        return nullcontext()
    store = Path(uri.removeprefix("sqlite:///"))
    return leased(store.parent / FOLDER / store.name, patience, waiting)


def _origin(folder: Path) -> str:
    """What tells the runs of this experiment's folder from those of another with the same arms and seeds."""
    path = folder / "origin.txt"
    if not path.exists():
        write_atomically(path, uuid.uuid4().hex[:16] + "\n")
    return path.read_text(encoding="utf-8").strip()


class _Importer:
    """Fills the runs of one experiment.

    Args:
        client: an MlflowClient.
        experiment: its name in MLflow.
        origin: of the experiment's folder.
        lease: confirmed before every run that is written.
        mixed_code: folder of a replicate -> where it and others were made by different code.
    """

    def __init__(self, client: Any, experiment: str, origin: str, lease: Lease, mixed_code: Mapping[Path, str]) -> None:
        self.client, self.origin, self.lease, self.mixed_code = client, origin, lease, mixed_code
        self.experiment_id = self._experiment(experiment)

    def _experiment(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        found = self.client.get_experiment_by_name(name)
        if found is None:
            try:
                self.client.create_experiment(name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise  # else another folder's sync was quicker
            found = self.client.get_experiment_by_name(name)
        if found is None or not found.experiment_id:
            raise _UnlikeMlflowError(f"it answers, but not as MLflow does: it has no experiment {name!r}")
        if found.lifecycle_stage == "deleted":
            raise RunError(f"MLflow's experiment {name!r} was deleted; restore it (mlflow experiments restore), or "
                           "give the experiment another name")  # fmt: skip
        return str(found.experiment_id)

    def run(self, todo: Sequence[Replicate], at_once: int) -> int:
        """Import all; the number of points that were added.

        Raises:
            RunError: the server refuses what is in some of the runs; all others are imported.
        """
        known = self._known(todo)
        answers = by_threads(lambda replicate: self._tried(replicate, known.get(_tag(replicate))), todo, at_once)
        if any(_tag(replicate) not in known for replicate in todo):
            # A run whose making was asked for twice, since the first answer was lost, goes again.
            self._check_kept(self._known(todo), [one for one, answer in zip(todo, answers, strict=True)
                                                 if isinstance(answer, int)])  # fmt: skip
        refused = [answer for answer in answers if isinstance(answer, str)]
        if refused:
            raise RunError(f"MLflow refused {len(refused)} of {len(todo)} runs, such as {refused[0]}")
        return sum(answer for answer in answers if isinstance(answer, int))

    def _check_kept(self, known: dict[str, Any], taken: Sequence[Replicate]) -> None:
        """Raise where runs are not there that the server took without a word."""
        lost = [replicate.name for replicate in taken if _tag(replicate) not in known]
        if lost:
            raise _UnlikeMlflowError(
                f"it took {len(taken)} runs and does not have {len(lost)} of them, such as {lost[0]}"
            )

    def _known(self, todo: Sequence[Replicate]) -> dict[str, Any]:
        """Replicate id -> its run. Of several, which lost answers leave, the fullest stays."""
        folders = {_tag(replicate): str(replicate.link.absolute()) for replicate in todo}
        runs: dict[str, list[Any]] = {}
        token = None
        while True:
            page = self.client.search_runs([self.experiment_id], max_results=1000, page_token=token)
            for run in page:
                tags = run.data.tags
                name = tags.get("replicate", "")
                ours = tags["origin"] == self.origin if "origin" in tags else tags.get("folder") == folders.get(name)
                if name in folders and ours:
                    runs.setdefault(name, []).append(run)
            token = page.token
            if not token:
                break
        known = {}
        for name, several in runs.items():
            known[name], *rest = sorted(several, key=lambda run: (-len(run.data.metrics), run.info.run_id))
            for run in rest:
                self.client.delete_run(run.info.run_id)
        return known

    def _tried(self, replicate: Replicate, run: Any) -> int | str:
        """Import one; the points that were added, or why the server will not have it."""
        from mlflow.exceptions import MlflowException

        self.lease.confirm()
        try:
            return self._import(replicate, run)
        except MlflowException as error:
            if error.error_code != "INVALID_PARAMETER_VALUE":
                raise
            return f"{replicate.name}: {_first_line(error)}"

    def _import(self, replicate: Replicate, run: Any) -> int:
        from mlflow.entities import RunTag

        state, events, file = (
            replicate.state,
            replicate.events(),
            MetricsFile.read(replicate.training, replicate.folder),
        )
        lacking = self._lacking(file, run)
        if lacking is None:  # the run contradicts the file, and the file is right
            self.client.delete_run(run.info.run_id)
            lacking, run = (file.points(), True), None
        points, whole = lacking
        mixed = self.mixed_code.get(replicate.folder, "no")[: LONGEST["tag"]]  # written always: it may have been mended
        tags = _tags(replicate, state) | {"origin": self.origin, "mixed_code": mixed}
        if run is None:
            began = int((events[0].time if events else time.time()) * 1000)
            first = tags | {SYNCED: PARTIAL}
            run = self.client.create_run(self.experiment_id, start_time=began, tags=first, run_name=replicate.name)
        elif points and run.data.tags.get(SYNCED) != PARTIAL:
            self.client.set_tag(run.info.run_id, SYNCED, PARTIAL)  # until the last call nobody relies on the mark
        self._set_status(run, STATUS[state], events)
        tags[SYNCED] = file.mark if whole else PARTIAL
        changed = [RunTag(key, value) for key, value in tags.items() if run.data.tags.get(key) != value]
        params = {key: value for key, value in _params(replicate).items() if key not in run.data.params}
        self._log(run.info.run_id, points, params, changed)
        return len(points)

    def _lacking(self, file: MetricsFile, run: Any) -> tuple[Points, bool] | None:
        """As `metric_points.missing`; the run's history is asked for only where its mark does not tell."""
        if run is None:
            return file.points(), True
        mark = run.data.tags.get(SYNCED, PARTIAL)
        if mark == file.mark:
            return {}, True
        appended = file.appended_to(mark)
        if appended is not None:
            return appended, True
        points = file.points()
        keys = {key for key, _ in points} | run.data.metrics.keys()
        return missing(points, (self.client.get_metric_history(run.info.run_id, key) for key in sorted(keys)))

    def _set_status(self, run: Any, status: str, events: list[Event]) -> None:
        if run.info.status == status:
            return
        if status in ("RUNNING", "SCHEDULED"):
            self.client.update_run(run.info.run_id, status)
        else:
            self.client.set_terminated(run.info.run_id, status, int(events[-1].time * 1000) if events else None)

    def _log(self, run_id: str, points: Points, params: dict[str, str], tags: list[Any]) -> None:
        """In as few calls as MLflow takes; it writes the tags last, and the mark among them in the last call."""
        from mlflow.entities import Metric, Param

        metrics = [Metric(key, value, at, step) for (key, step), (value, at) in points.items()]
        written = [Param(key, value) for key, value in params.items()]
        calls = max(math.ceil(len(metrics) / POINTS), math.ceil(len(written) / PARAMS), bool(tags))
        for call in range(calls):
            self.lease.confirm()
            self.client.log_batch(
                run_id,
                metrics=metrics[call * POINTS : (call + 1) * POINTS],
                params=written[call * PARAMS : (call + 1) * PARAMS],
                tags=tags if call == calls - 1 else [],
            )


def _tag(replicate: Replicate) -> str:
    """The replicate id, a tag of its run."""
    return f"{replicate.identity}/seed-{replicate.seed}"


def _tags(replicate: Replicate, state: State) -> dict[str, str]:
    result, attempts = replicate.result(), replicate.attempts()
    code = bound_code(replicate.training)
    tags = {
        "replicate": _tag(replicate),
        "arm": replicate.arm,
        "seed": replicate.seed,
        "identity": replicate.identity,
        "training": replicate.training.parent.name,
        "evaluation": replicate.folder.name,
        "state": state,
        "folder": replicate.link.absolute(),
        "attempts": len(attempts),
        "slurm_job": attempts[-1].job if attempts else None,
        "node": attempts[-1].node if attempts else None,
        "commit": code.get("commit"),
        "data_digest": result.data_digest if result else None,
    }
    tags |= {f"axis.{axis}": label for axis, label in replicate.axes.items()}
    tags |= {f"protocol.{metric_key(name)}": mark for name, mark in (result.protocols if result else {}).items()}
    tags |= {f"code.{metric_key(name)}": ", ".join(digests) for name, digests in _digests(made_by(replicate)).items()}
    return {key: str(value)[: LONGEST["tag"]] for key, value in tags.items() if value not in (None, "")}


def _digests(made: MadeBy) -> dict[str, list[str]]:
    """The digests of training and evaluation together, each once."""
    found: dict[str, list[str]] = {}
    for name, digests in (*made.training.items(), *made.evaluation.items()):
        found[name] = list(dict.fromkeys([*found.get(name, ()), *digests]))
    return found


def _mixed_code(todo: Sequence[Replicate]) -> dict[Path, str]:
    """Folder -> where that replicate and others of these were made by different code."""
    mixed = mixed_code((one.arm, one.seed, made_by(one).model_dump(mode="json")) for one in todo)
    return {
        one.folder: "; ".join(map(str, own))
        for one in todo
        if (own := [part for part in mixed if any(one.seed in group.get(one.arm, ()) for group in part.groups)])
    }


def _params(replicate: Replicate) -> dict[str, str]:
    return {key: str(value)[: LONGEST["param"]] for key, value in flat(replicate.spec.science())}
