"""MLflow as a source of results: what `sync` has brought there, read back with nothing but a tracking URI.

What was launched, the results, the specs and the floors are the files that runs have as artifacts, so that frames,
comparisons and verdicts are those of the run folders; curves are the points that MLflow has.
"""

import atexit
import contextlib
import math
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from analysis.figures.sample_videos import SampleVideos
from analysis.reading.results_source import earlier, missing_row
from analysis.results.mlflow_manifest import read_manifest
from analysis.results.mlflow_names import (
    COSTS,
    HOST,
    LOOKS,
    MAXIMUM,
    OF_SCORES,
    REPLICATE,
    REPORT,
    SAMPLES,
    SPEC,
    check_file,
    file_of,
    metric_key,
    open_client,
    result_at,
    without_secrets,
)
from registry.errors import RunError, did_you_mean
from registry.experiment.claims import VALIDATION_LOSS
from registry.experiment.comparable import loss_protocol
from registry.runs import given_seeds, looks
from registry.runs.floors import own_floors
from registry.runs.places import FLOORS_FILE
from registry.runs.records import DamagedError, Result, State, read_record
from registry.runs.replicate import Replicate
from registry.runs.resolved_experiment import FILE as RESOLVED
from registry.runs.resolved_experiment import ResolvedExperiment, newest_resolved, place_of
from registry.runs.stored import read_spec
from registry.schema.result_columns import LOSS_PROTOCOL
from registry.schema.spec import Spec

SCHEMES = ("sqlite:///", "postgresql", "mysql", "mssql", "http://", "https://")
THREADS = 8  # that ask a server at once; an SQLite file is asked by one
PAGE = re.compile(r"(https?://[^#?]*?)/*(?:#|\?).*?/experiments/(\d+)")  # the address of an experiment's page

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class _Store:
    """A tracking store.

    Args:
        uri: of the store.
        client: an MlflowClient of it.
    """

    uri: str
    client: Any

    @property
    def shown_uri(self) -> str:
        """Return the URI as people may see it."""
        return without_secrets(self.uri)

    @contextlib.contextmanager
    def told(self, what: str) -> Iterator[None]:
        """Say in one line what MLflow would not do."""
        from mlflow.exceptions import MlflowException
        from requests import RequestException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except (MlflowException, RequestException, SQLAlchemyError, OSError) as error:
            why = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise RunError(without_secrets(f"MLflow at {self.uri}: {what}: {why}")) from None

    def runs(self, experiment_id: str) -> list[Any]:
        """Return all runs of an experiment."""
        with self.told("its runs cannot be read"):
            return _all_of(lambda token: self.client.search_runs([experiment_id], max_results=1000, page_token=token))

    def experiments(self) -> list[Any]:
        """Return all experiments."""
        with self.told("cannot be asked for its experiments"):
            return _all_of(lambda token: self.client.search_experiments(max_results=1000, page_token=token))

    def fetch(self, run: Any, name: str, into: Path) -> Path:
        """Bring an artifact of a run, a file or a folder, into a folder; return where it lies there."""
        into.mkdir(parents=True, exist_ok=True)
        with self.told(f"{name} of the run {run.info.run_name} cannot be had"):
            return Path(self.client.download_artifacts(run.info.run_id, name, str(into)))

    def each(self, call: Callable[[Item], Answer], items: Sequence[Item]) -> list[Answer]:
        """Return the call's answer for each item, in their order."""
        with ThreadPoolExecutor(THREADS if file_of(self.uri) is None else 1) as pool:
            return list(pool.map(call, items))


def _all_of(page_at: Callable[[str | None], Any]) -> list[Any]:
    """Return what all pages have; MLflow gives one at a time, with the token of the next."""
    found: list[Any] = []
    token = None
    while True:
        page = page_at(token)
        found += page
        token = page.token
        if not token:
            return found


def open_tracked(
    address: str,
    overrides: Sequence[str] | None = None,
    experiment: str | None = None,
    origin: str | None = None,
) -> "MlflowRuns":
    """Return an experiment's runs in MLflow.

    Args:
        address: a tracking URI, or that of the experiment's page on a server.
        overrides: that it was launched with; None takes the newest launch.
        experiment: its name; may be left out where MLflow has one, or where the address says it.
        origin: of the runs folder, or how it begins; may be left out where MLflow has runs of one.

    Raises:
        RunError: MLflow cannot be reached, or has no such experiment, or not what was launched.
    """
    page = PAGE.match(address)
    uri = page[1] if page else address
    if not uri.startswith(SCHEMES):
        raise RunError(f"{without_secrets(uri)}: is no tracking URI, which begins with {', '.join(SCHEMES)}")
    check_file(uri)
    if (file := file_of(uri)) is not None and not file.exists():
        raise RunError(f"{file}: no such file; `python run.py sync FILE` makes it")  # MLflow would make an empty one
    store = _Store(uri, open_client(uri))
    about = _experiment(store, page[2] if page else None, experiment)
    brought = _of_one_folder(store, about.name, store.runs(about.experiment_id), origin)
    kept = tempfile.TemporaryDirectory(prefix="mlflow-results-")
    atexit.register(kept.cleanup)  # videos that a notebook shows outlive the results that they came from
    folder = Path(kept.name)
    launched = _launched(store, brought.runs, folder)
    resolved = newest_resolved(folder, overrides)
    if resolved is None:
        raise RunError(
            f"MLflow at {store.shown_uri}: {about.name!r} has no run `{REPORT}` that says what was launched; it was "
            "brought by an earlier version, or never launched: `python run.py sync FILE` brings it"
        )
    return MlflowRuns(store, resolved, launched[resolved.digest], brought, folder)


def _experiment(store: _Store, number: str | None, name: str | None) -> Any:
    """Return the experiment of MLflow that is meant."""
    found = [one for one in store.experiments() if one.name != "Default"]
    named = [one for one in found if name in (None, one.name) and number in (None, str(one.experiment_id))]
    if len(named) == 1:
        return named[0]
    names = sorted(one.name for one in found)
    if name is not None or number is not None:
        hint = did_you_mean(name or "", names) if names else "it has none"
        raise RunError(f"MLflow at {store.shown_uri}: no experiment {name or number!r}; {hint}")
    if not names:
        raise RunError(f"MLflow at {store.shown_uri}: has no experiments; `python run.py sync FILE` brings one")
    raise RunError(
        f"MLflow at {store.shown_uri}: has {len(names)} experiments, {', '.join(names)}; name one: "
        f"analysis.load(…, experiment={names[0]!r})"
    )


@dataclass(frozen=True)
class _FolderRuns:
    """The runs of an experiment that one runs folder was brought with.

    Args:
        runs: replicates and reports, the newest first.
        origin: the tag that they have in common.
        among: how many such folders MLflow has.
    """

    runs: Sequence[Any]
    origin: str = ""
    among: int = 1

    @property
    def folder(self) -> Path | None:
        """The experiment's folder as its runs name it, wherever they were made."""
        links = (run.data.tags["folder"] for run in self.runs if "folder" in run.data.tags)
        return next((Path(link).parents[1] for link in links), None)

    @property
    def told(self) -> str:
        """`user@host:folder`, as far as its runs say it."""
        tags = [run.data.tags for run in self.runs]
        user, host = (next((own[tag] for own in tags if tag in own), "") for tag in ("mlflow.user", HOST))
        return "".join([user and f"{user}@", host and f"{host}:", str(self.folder or "a folder that is not named")])


def _of_one_folder(store: _Store, name: str, runs: Sequence[Any], origin: str | None) -> _FolderRuns:
    """Return the runs of the one folder that is meant: two people with the same file have runs of their own."""
    by_origin: dict[str, list[Any]] = {}
    for run in runs:
        if run.data.tags.get("kind") in (REPLICATE, REPORT):
            by_origin.setdefault(run.data.tags.get("origin", ""), []).append(run)
    if len(by_origin) > 1:
        by_origin.pop("", None)  # those of an earlier version, which does not say what was launched
    every = [_FolderRuns(own, key, len(by_origin)) for key, own in by_origin.items()]
    found = [one for one in every if one.origin.startswith(origin or "")]
    if len(found) == 1:
        return found[0]
    if not every:
        return _FolderRuns(())
    listed = "; ".join(f"{one.told} ({len(one.runs)} runs): origin={one.origin!r}" for one in found or every)
    if not found:
        raise RunError(
            f"MLflow at {store.shown_uri}: {name!r}: no folder has the origin {origin!r}; there are {listed}"
        )
    raise RunError(
        f"MLflow at {store.shown_uri}: {name!r} has runs of {len(found)} folders, which are not taken together: "
        f"{listed}; name one: analysis.load(…, origin={found[0].origin!r})"
    )


def _launched(store: _Store, runs: Sequence[Any], folder: Path) -> dict[str, Any]:
    """Bring what was launched into a folder as that of an experiment has it; return the run `report` by digest."""
    reports: dict[str, Any] = {}
    for run in runs:  # the newest first
        if run.data.tags.get("kind") == REPORT:
            reports.setdefault(run.data.tags["report"], run)
    for digest, run in reports.items():
        if RESOLVED in _files(run):
            store.fetch(run, RESOLVED, place_of(folder, digest))
    return reports


def _files(run: Any) -> set[str]:
    """The artifacts that `sync` has given to a run."""
    return set(read_manifest(run.data.tags))


class MlflowRuns:
    """The runs of an experiment in MLflow (`analysis.reading.results_source.ResultsSource`).

    Args:
        store: that has them.
        resolved: the experiment as it was launched.
        report: the run that says so.
        brought: the runs, all of one folder.
        fetched: a folder for what is fetched, until the process ends.
    """

    def __init__(
        self,
        store: _Store,
        resolved: ResolvedExperiment,
        report: Any,
        brought: _FolderRuns,
        fetched: Path,
    ) -> None:
        self.store, self.resolved, self.report, self.fetched = store, resolved, report, fetched
        self.brought = brought
        own = [run for run in brought.runs if run.data.tags.get("kind") == REPLICATE]
        by_id = {run.data.tags.get("replicate"): run for run in own}
        self._runs = {
            (arm, seed): run
            for arm, about in resolved.arms.items()
            for seed in resolved.seeds
            if (run := by_id.get(f"{about.identity}/seed-{seed}")) is not None
        }

    @property
    def place(self) -> str:
        """Return the tracking URI, and which folder's runs these are where MLflow has those of several."""
        several = f", runs of {self.brought.told}" if self.brought.among > 1 else ""
        return f"{self.store.shown_uri}{several}"

    @property
    def folder(self) -> Path:
        """Return the experiment's folder as its runs name it, wherever they were made."""
        return self.brought.folder or Path(self.resolved.experiment)

    @cached_property
    def history(self) -> Path:
        """Return a folder with the looks and the given seeds that the runs `report` have, this launch's first."""
        folder = self.fetched / "history"
        found: dict[Path, Any] = {}
        for run in [self.report, *(run for run in self.brought.runs if run.data.tags.get("kind") == REPORT)]:
            for name in map(Path, _files(run)):
                if str(name.parent) in (looks.FOLDER, given_seeds.FOLDER):
                    found.setdefault(name, run)

        def keep(name: Path) -> None:
            kept = self.store.fetch(found[name], name.as_posix(), self._place(found[name]) / name.parent)
            (folder / name.parent).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(kept, folder / name)

        self.store.each(keep, list(found))
        return folder

    @property
    def unwritten(self) -> str:
        """Return that MLflow is never written to, and whether it knows what was seen before."""
        if not self._has_history:
            return (
                f"earlier looks are unknown: an earlier version brought {self.resolved.experiment} to MLflow, so this "
                "verdict may be paid for too little; `python run.py sync FILE` brings them"
            )
        return (
            "this look is not written down, since it is at what MLflow has, so a later one does not know of it; "
            "`python run.py verdict FILE` where the run folders are writes it down, and `sync` brings it here"
        )

    @property
    def _has_history(self) -> bool:
        brought = self.report.data.tags.get(LOOKS)
        return brought is not None and len(looks.look_files(self.history)) >= int(brought)

    def owners(self) -> list[tuple[str, int]]:
        """Return arm and seed of every run."""
        return list(self._runs)

    def replicates(self) -> list[Replicate]:
        """Raise: MLflow has neither run folders nor checkpoints."""
        raise RunError(
            f"{self.resolved.experiment}: was read from MLflow, which has no checkpoints and no run folders; they were "
            f"made in {self.folder}: analysis.load({str(self.folder)!r}) on that machine"
        )

    def rows(self, step: int | None) -> Iterator[dict[str, Any]]:
        """Yield a row for every arm and seed that is evaluated at a step, with its result.json."""
        owners = [
            (arm, seed)
            for arm, own in self.resolved.arms.items()
            for seed in self._seeds(arm)
            if step is None or step in own.steps
        ]
        _ = self._loss_protocols  # before there are threads
        yield from self.store.each(lambda owner: self._row(*owner, step), owners)

    @cached_property
    def _loss_protocols(self) -> dict[str, dict[str, Any]]:
        return {arm: loss_protocol(spec) for arm, spec in self.specs().items()}

    def _seeds(self, arm: str) -> list[int]:
        """The seeds that are expected of an arm; where that was not brought, also those that have a run."""
        expected = self._given[arm]
        if self._has_history:
            return list(expected)
        return [seed for seed in self.resolved.seeds if (arm, seed) in self._runs or seed in expected]

    @cached_property
    def _given(self) -> dict[str, tuple[int, ...]]:
        return self.resolved.seeds_by_arm(self.history)

    def _row(self, arm: str, seed: int, step: int | None) -> dict[str, Any]:
        resolved, run = self.resolved.arms[arm], self._runs.get((arm, seed))
        if run is None:
            return missing_row(self.resolved.experiment, arm, resolved, seed, "")
        early = earlier(resolved, step)
        state, result = run.data.tags.get("state", str(State.MISSING)), self._result(run, early)
        if early is not None:
            state = str(State.DONE if result else State.MISSING if state == State.DONE else state)
        elif state == State.DONE and result is None:
            raise RunError(
                f"{arm} seed {seed}: is done, and MLflow at {self.place} does not have its {result_at(None)}: an "
                "earlier version brought it; `python run.py sync FILE` sends it, into a new store where MLflow's "
                "description of the experiment says that it takes no files"
            )
        row = missing_row(self.resolved.experiment, arm, resolved, seed, run.data.tags.get("folder", ""))
        if result is not None:
            row |= {"identity": result.identity, "result": result.model_dump(mode="json")}
            row[LOSS_PROTOCOL] = self._loss_protocols.get(arm)
        return row | {"state": state}

    def _result(self, run: Any, step: int | None) -> Result | None:
        name = result_at(step)
        if name not in _files(run):
            return None
        kept = self.store.fetch(run, name, self._place(run) / f"at-{step}")  # where a file lies below, differs by store
        try:
            return read_record(kept, Result)
        except DamagedError as error:
            raise RunError(f"MLflow at {self.place}: {run.info.run_name}: {error}") from None

    def _place(self, run: Any) -> Path:
        return self.fetched / "runs" / run.info.run_id

    def specs(self) -> dict[str, Spec]:
        """Return the spec of each arm, as its first run has it."""
        first: dict[str, Any] = {}
        for (arm, _), run in self._runs.items():
            if SPEC in _files(run):
                first.setdefault(arm, run)
        places = self.store.each(lambda run: self.store.fetch(run, SPEC, self._place(run)), list(first.values()))
        return {
            arm: read_spec(place.parent, self.resolved.arms[arm].identity)
            for arm, place in zip(first, places, strict=True)
        }

    def curves(self, metrics: Sequence[str]) -> pd.DataFrame:
        """Return what the trainings logged, without scores, costs and the machine's load."""
        owners = list(self._runs)
        found = self.store.each(lambda owner: self._curve(owner, metrics), owners)
        arms = list(dict.fromkeys(arm for arm, _ in owners))
        frames = [frame for frame in found if len(frame)]
        if not frames:
            return pd.DataFrame({"arm": pd.Categorical([], categories=arms), "seed": [], "step": []})
        whole = pd.concat(frames, ignore_index=True)
        whole["arm"] = pd.Categorical(whole["arm"], categories=arms)
        return whole

    def _curve(self, owner: tuple[str, int], metrics: Sequence[str]) -> pd.DataFrame:
        run = self._runs[owner]
        names = sorted(name for name in run.data.metrics if self._is_logged(name) and (not metrics or name in metrics))
        points: dict[str, dict[int, float]] = {}
        with self.store.told(f"the curves of {run.info.run_name} cannot be read"):
            for name in names:
                history = self.store.client.get_metric_history(run.info.run_id, name)
                points[name] = {point.step: _value(point.value) for point in history}
        frame = pd.DataFrame(points, dtype="float64").sort_index().rename_axis("step").reset_index()
        frame.insert(0, "arm", owner[0])
        frame.insert(1, "seed", owner[1])
        return frame

    def _is_logged(self, name: str) -> bool:
        return not name.startswith(COSTS) and name not in self._of_scores

    @cached_property
    def _of_scores(self) -> set[str]:
        """The metrics that are scores; the validation loss is one, and is logged as well."""
        scores = [metric_key(name) for name in self.resolved.directions if not name.startswith(VALIDATION_LOSS)]
        return {f"{name}{end}" for name in scores for end in OF_SCORES}

    def floors(self) -> list[dict[str, Any]]:
        """Return the noise floors that the run `report` has."""
        if FLOORS_FILE not in _files(self.report):
            return []
        kept = self.store.fetch(self.report, FLOORS_FILE, self.fetched)
        return own_floors(kept.parent, (run.data.tags["replicate"] for run in self._runs.values()))

    def samples(self, arm: str, seed: int) -> SampleVideos:
        """Return the clips that a run has among its artifacts."""
        run = self._runs[arm, seed]
        if not any(name.startswith(f"{SAMPLES}/clip-") for name in _files(run)):
            raise RunError(f"{arm} seed {seed}: has no sampled videos in MLflow ({run.data.tags.get('state')})")
        place = self.store.fetch(run, SAMPLES, self._place(run))
        sheet = place / "contact_sheet.png"
        return SampleVideos(f"{arm} seed {seed}", sorted(place.glob("clip-*.mp4")), sheet if sheet.is_file() else None)


def _value(stored: float) -> float:
    return math.copysign(math.inf, stored) if abs(stored) == MAXIMUM else stored
