"""MLflow as a view of the run folders: filled from plain files, as often as one likes, and never by training itself."""

import math
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.results.mlflow_names import TRIAL, file_of, without_secrets
from analysis.results.mlflow_names import open_client as _client
from experiments.record.lease import Lease, leased
from experiments.record.progress import Progress, silent
from experiments.tracking import artifacts, overview, run_contents
from experiments.tracking.above_runs import KINDS, PARENT, Above
from experiments.tracking.metric_points import MetricLines, Points, missing
from experiments.tracking.run_contents import CURRENT, LONGEST, kind_of, replicate_id
from experiments.tracking.sqlite_file import written_alone
from experiments.tracking.store import (
    KIND,
    KIND_TAG,
    address,
    artifact_root,
    default_uri,
    is_server,
    lies_apart,
    store_among,
)
from experiments.tracking.threads import by_threads
from registry.errors import RunError
from registry.runs.files import write_atomically
from registry.runs.places import experiment_of
from registry.runs.records import Event, State
from registry.runs.replicate import Replicate
from registry.runs.resolved_experiment import newest_resolved

FOLDER = "_sync"  # in the folder of all runs, by experiment: whose turn it is to sync, and the origin of its runs
PATIENCE = 900.0  # seconds that a sync waits for another one of the same experiment
LIMIT = 60.0  # seconds that the end of a launch waits for a tracking server, or for another sync
POINTS, PARAMS = 800, 100  # a call; MLflow takes at most 1,000 items, of which 100 params
LONGEST_PLACE = 200 - len("/artifacts") - 33  # characters; the place of a run's files lies below by its id
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
    owner = experiment_of(seen[0].link)
    folder = owner.parent / FOLDER / owner.name
    with _store_alone(uri, owner.parent, patience, waiting), leased(folder, patience, waiting) as lease:
        try:
            importer = _Importer(_client(uri), Target(experiment, uri, owner), _origin(folder), lease, seen)
            points = importer.run(seen, at_once=THREADS if is_server(uri) else 1)
        except (MlflowException, RequestException, SQLAlchemyError, _UnlikeMlflowError) as error:
            raise RunError(f"MLflow at {without_secrets(uri)}: {_first_line(error)}") from None
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

    if not is_server(uri):
        work()
        return told[0]
    shown_uri = without_secrets(uri)
    progress(f"filling MLflow at {shown_uri}, for {limit:.0f} s at most", 0, 1)
    worker = threading.Thread(target=work, daemon=True)  # which ends with this process, wherever it is
    worker.start()
    worker.join(limit)
    return f"MLflow at {shown_uri}: it has not taken everything within {limit:.0f} s" if worker.is_alive() else told[0]


def address_of(experiment: str, server: str, uri: str) -> str:
    """Return the page of an experiment of a store on a server that shows it; empty where it cannot be found out.

    Args:
        experiment: the MLflow experiment.
        server: `http://host:port`.
        uri: the store, which may be the server itself.
    """
    try:
        found = _client(uri).get_experiment_by_name(experiment)
        return address(server, str(found.experiment_id)) if found is not None else ""
    except Exception:  # as in `try_sync`: the results are there, whatever a tracking server does
        return ""


RELATIVE = (
    "**No files here**: this experiment was made by an earlier version, with a relative place for its files. To have "
    "them, rename or remove `mlflow.db` and `sync` again: the run folders are the truth."
)


class _UnlikeMlflowError(Exception):
    """What answers is not MLflow."""


def _first_line(error: Exception) -> str:
    text = without_secrets(next(iter(str(error).strip().splitlines()), type(error).__name__))
    if "Invalid Host header" in text:
        text += "; start the server with --allowed-hosts and this address, with its port (docs/mlflow.md)"
    return text


def _store_alone(
    uri: str, runs: Path, patience: float, waiting: Callable[[str], None] | None
) -> AbstractContextManager[Any]:
    store = file_of(uri)
    if store is None:
        return nullcontext()
    turns = store.parent / FOLDER / store.name
    return written_alone(store, turns, patience, waiting, view=uri == store_among(runs))


def _origin(folder: Path) -> str:
    """What tells the runs of this experiment's folder from those of another with the same arms and seeds."""
    path = folder / "origin.txt"
    if not path.exists():
        write_atomically(path, uuid.uuid4().hex[:16] + "\n")
    return path.read_text(encoding="utf-8").strip()


@dataclass(frozen=True)
class Target:
    """Where runs go, and where they come from.

    Args:
        experiment: the experiment in MLflow.
        uri: the store.
        folder: of the experiment among the runs.
    """

    experiment: str
    uri: str
    folder: Path


class _Importer:
    """Fills the runs of one experiment.

    Args:
        client: an MlflowClient.
        target: where the runs go.
        origin: of the experiment's folder.
        lease: confirmed before every run that is written.
        replicates: all that are brought.
    """

    def __init__(self, client: Any, target: Target, origin: str, lease: Lease, replicates: Sequence[Replicate]) -> None:
        self.client, self.target, self.origin, self.lease = client, target, origin, lease
        self.mixed_code = run_contents.mixed_code_of(replicates)
        self.resolved = overview.resolved_of(target.folder, {one.identity for one in replicates})
        self.newest = newest_resolved(target.folder)
        self.about = self._experiment(target.experiment)
        self.experiment_id = str(self.about.experiment_id)
        self.data_turn = threading.Lock()
        self.params: dict[str, dict[str, str]] = {}  # by identity of the arm
        self.above = Above(client, self.experiment_id, self.resolved, origin)
        self.searched = any(kind_of(one) == TRIAL for one in replicates)  # or MLflow has trials of an earlier sync

    def _experiment(self, name: str) -> Any:
        from mlflow.exceptions import MlflowException

        found = self.client.get_experiment_by_name(name)
        if found is None:
            try:
                self.client.create_experiment(name, artifact_location=self._place(name), tags={KIND_TAG: KIND})
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise  # else another folder's sync was quicker
            found = self.client.get_experiment_by_name(name)
        if found is None or not found.experiment_id:
            raise _UnlikeMlflowError(f"it answers, but not as MLflow does: it has no experiment {name!r}")
        if found.lifecycle_stage == "deleted":
            raise RunError(f"MLflow's experiment {name!r} was deleted; restore it (mlflow experiments restore), or "
                           "give the experiment another name")  # fmt: skip
        return found

    def _place(self, name: str) -> str | None:
        """Where the artifacts of a new experiment lie; None: a server says."""
        root = artifact_root(self.target.uri, self.target.folder.parent)
        place = root and f"{root}/{''.join(c if c.isalnum() or c in '-_.' else '-' for c in name)}"
        if place and file_of(self.target.uri) is None and len(place) > LONGEST_PLACE:
            raise RunError(
                f"{place}: MLflow's files cannot lie there: a database keeps {LONGEST_PLACE} characters of such a "
                "place; move the runs folder to a shorter one, or sync to a server, which has a place of its own"
            )
        return place

    def run(self, todo: Sequence[Replicate], at_once: int) -> int:
        """Import all; the number of points that were added.

        Raises:
            RunError: the server refuses what is in some of the runs; all others are imported.
        """
        known = self._known(todo)
        self.above.make_parents(todo)
        answers = by_threads(
            lambda replicate: self._tried(replicate, known.get(replicate_id(replicate))), todo, at_once
        )
        text = overview.description(self.target.folder, self.resolved, "" if self._takes_files else RELATIVE)
        overview.describe(self.client, self.about, text, overview.view(todo, self.searched))
        if self._takes_files:
            self.above.send_report(self.target.folder, todo)
        if any(replicate_id(replicate) not in known for replicate in todo):
            # A run whose making was asked for twice, since the first answer was lost, goes again.
            self._check_kept(self._known(todo), [one for one, answer in zip(todo, answers, strict=True)
                                                 if isinstance(answer, int)])  # fmt: skip
        refused = [answer for answer in answers if isinstance(answer, str)]
        if refused:
            raise RunError(f"MLflow refused {len(refused)} of {len(todo)} runs, such as {refused[0]}")
        return sum(answer for answer in answers if isinstance(answer, int))

    def _check_kept(self, known: dict[str, Any], taken: Sequence[Replicate]) -> None:
        """Raise where runs are not there that the server took without a word."""
        lost = [replicate.name for replicate in taken if replicate_id(replicate) not in known]
        if lost:
            raise _UnlikeMlflowError(
                f"it took {len(taken)} runs and does not have {len(lost)} of them, such as {lost[0]}"
            )

    def _known(self, todo: Sequence[Replicate]) -> dict[str, Any]:
        """Replicate id -> its run. Of several, which lost answers leave, the fullest stays."""
        folders = {replicate_id(replicate): str(replicate.link.absolute()) for replicate in todo}
        runs: dict[str, list[Any]] = {}
        token = None
        while True:
            page = self.client.search_runs([self.experiment_id], max_results=1000, page_token=token)
            for run in page:
                tags = run.data.tags
                self.searched = self.searched or tags.get("kind") == TRIAL
                if tags.get("origin") == self.origin and tags.get("kind") in KINDS:
                    self.above.keep(run)
                    continue
                name = tags.get("replicate", "")
                ours = tags["origin"] == self.origin if "origin" in tags else tags.get("folder") == folders.get(name)
                if name in folders and ours:
                    runs.setdefault(name, []).append(run)
                elif tags.get("origin") == self.origin:
                    self._mark_current(run)
            token = page.token
            if not token:
                break
        known = {}
        for name, several in runs.items():
            known[name], *rest = sorted(several, key=lambda run: (-len(run.data.metrics), run.info.run_id))
            for run in rest:
                self.client.delete_run(run.info.run_id)
        return known

    def _mark_current(self, run: Any) -> None:
        """Say of a run that is not brought now whether its arm is still one of the newest launch."""
        now = self._current(run.data.tags.get("kind"), run.data.tags.get("identity"))
        if run.data.tags.get(CURRENT) != now:
            self.client.set_tag(run.info.run_id, CURRENT, now)

    def _current(self, kind: str | None, identity: str | None) -> str:
        """Whether the newest launch has an arm of this identity; trials have their place; all where none is noted."""
        if kind == TRIAL:
            return "yes"
        known = {arm.identity for arm in self.newest.arms.values()} if self.newest else {identity}
        return "yes" if identity in known else "no"

    @property
    def _takes_files(self) -> bool:
        return lies_apart(str(self.about.artifact_location))

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

        state, events = replicate.state, replicate.events()
        file = run_contents.metrics_of(replicate, self.resolved)
        lacking = self._lacking(file, run)
        if lacking is None:  # the run contradicts the file, and the file is right
            self.client.delete_run(run.info.run_id)
            lacking, run = (file.points(), True), None
        points, whole = lacking
        mixed = self.mixed_code.get(replicate.folder, "no")[: LONGEST["tag"]]  # written always: it may have been mended
        tags = run_contents.tags_of(replicate, state, self.resolved) | {"origin": self.origin, "mixed_code": mixed}
        tags[CURRENT] = self._current(tags["kind"], replicate.identity)
        tags[PARENT] = self.above.parent_of(replicate).info.run_id
        if run is None:
            began = int((events[0].time if events else time.time()) * 1000)
            first = tags | {SYNCED: PARTIAL}
            run = self.client.create_run(self.experiment_id, start_time=began, tags=first, run_name=replicate.name)
        elif points and run.data.tags.get(SYNCED) != PARTIAL:
            self.client.set_tag(run.info.run_id, SYNCED, PARTIAL)  # until the last call nobody relies on the mark
        self._set_status(run, STATUS[state], events)
        tags[SYNCED] = file.mark if whole else PARTIAL
        changed = [RunTag(key, value) for key, value in tags.items() if run.data.tags.get(key) != value]
        params = {key: value for key, value in self._params_of(replicate).items() if key not in run.data.params}
        self._send_data(replicate, run)
        self._log(run.info.run_id, points, params, changed)
        if self._takes_files:
            artifacts.send(self.client, run, artifacts.artifacts_of(replicate, state))
        return len(points)

    def _params_of(self, replicate: Replicate) -> dict[str, str]:
        """The params of a replicate, which are those of its arm, worked out once."""
        if replicate.identity not in self.params:
            self.params[replicate.identity] = run_contents.params_of(replicate)
        return self.params[replicate.identity]

    def _send_data(self, replicate: Replicate, run: Any) -> None:
        """Say once which data the run was trained on."""
        if not getattr(run.inputs, "dataset_inputs", ()) and (data := run_contents.dataset_of(replicate)) is not None:
            with self.data_turn:  # MLflow fails where two runs name the same new data at once
                self.client.log_inputs(run.info.run_id, datasets=[data])

    def _lacking(self, file: MetricLines, run: Any) -> tuple[Points, bool] | None:
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
