"""The runs in MLflow that stand above the replicates': one for each arm, one for a search, and the report."""

import csv
import io
import json
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.results.mlflow_names import ARM, ARTIFACTS_TAG, HOST, LOOKS, REPORT, SEARCH, TRIAL
from experiments.tracking import overview
from experiments.tracking.artifacts import Artifact, send
from experiments.tracking.run_contents import SOURCE_TYPE, kind_of, own_tags
from registry.runs import given_seeds
from registry.runs.attempts import numbered
from registry.runs.looks import look_files
from registry.runs.places import FLOORS_FILE
from registry.runs.replicate import Replicate
from registry.runs.resolved_experiment import ResolvedExperiment, place_of

PARENT = "mlflow.parentRunId"
TABLES = "mlflow.loggedArtifacts"  # the tag by which MLflow's `log_table` knows its tables
KINDS = (ARM, SEARCH, REPORT)

Key = tuple[str, str]  # kind, and arm or digest of the report


class Above:
    """The runs above the replicates of one experiment's folder.

    Args:
        client: an MlflowClient.
        experiment_id: MLflow's number of the experiment.
        resolved: the launched form of the experiment, where there is one.
        origin: of the experiment's folder.
    """

    def __init__(self, client: Any, experiment_id: str, resolved: ResolvedExperiment | None, origin: str) -> None:
        self.client, self.experiment_id, self.resolved, self.origin = client, experiment_id, resolved, origin
        self.runs: dict[Key, Any] = {}

    def keep(self, run: Any) -> None:
        """Know a run that there is; of two, which a lost answer leaves, the first stays."""
        key = _key(run.data.tags)
        several = {one.info.run_id: one for one in (self.runs.get(key), run) if one is not None}
        self.runs[key], *rest = sorted(several.values(), key=lambda one: (one.info.start_time, one.info.run_id))
        for one in rest:
            self.client.delete_run(one.info.run_id)

    def make_parents(self, replicates: Sequence[Replicate]) -> None:
        """Make what is missing: a run for each arm, and one for all trials of a search."""
        below: dict[Key, list[Replicate]] = {}
        for replicate in replicates:
            below.setdefault(_key(self._parent_tags(replicate)), []).append(replicate)
        for key, own in below.items():
            tags = self._parent_tags(own[0]) | own_tags(own, self.resolved) | {SOURCE_TYPE: "LOCAL"}
            if key not in self.runs:
                self.runs[key] = self._make(tags["arm"], tags)
            self._tag(self.runs[key], tags)
            self._end(self.runs[key])

    def parent_of(self, replicate: Replicate) -> Any:
        """Return the run above that of a replicate."""
        return self.runs[_key(self._parent_tags(replicate))]

    def _parent_tags(self, replicate: Replicate) -> dict[str, str]:
        if kind_of(replicate) == TRIAL:
            return {"kind": SEARCH, "arm": SEARCH, "origin": self.origin}
        axes = {f"axis.{axis}": label for axis, label in replicate.axes.items()}
        return {"kind": ARM, "arm": replicate.arm, "origin": self.origin, **axes}

    def _make(self, name: str, tags: Mapping[str, str]) -> Any:
        now = int(time.time() * 1000)
        return self.client.create_run(self.experiment_id, start_time=now, tags=dict(tags), run_name=name)

    def _end(self, run: Any) -> None:
        """Say that a run is over, unless that was said: it has no time of its own."""
        if run.info.status == "RUNNING":
            self.client.set_terminated(run.info.run_id, "FINISHED")

    def _tag(self, run: Any, tags: Mapping[str, str]) -> None:
        """Bring a run's tags to what they should be; nothing is sent twice."""
        for key, value in tags.items():
            if run.data.tags.get(key) != value:
                self.client.set_tag(run.info.run_id, key, value)

    def send_report(self, folder: Path, replicates: Sequence[Replicate]) -> None:
        """Bring the run `report` to what lies in the report's folder, the floors, and what was seen.

        Before a launch there is none.

        Args:
            folder: of the experiment.
            replicates: that it reports.
        """
        if self.resolved is None:
            return
        place = place_of(folder, self.resolved.digest)
        files = [path for path in sorted(place.rglob("*")) if path.is_file() and not path.name.startswith(".")]
        floors = [Artifact(path.name, path) for path in [folder / FLOORS_FILE] if path.is_file()]
        looks = look_files(folder)
        history = [*looks, *numbered(folder / given_seeds.FOLDER)]  # what a verdict is paid for with
        seen = [Artifact(path.relative_to(folder).as_posix(), path) for path in history]
        tables = _tables(place)
        note = overview.description(folder, self.resolved)
        tags = {"kind": REPORT, "report": self.resolved.digest, "origin": self.origin, overview.NOTE: note}
        tags |= own_tags(replicates, self.resolved) | {SOURCE_TYPE: "LOCAL"}
        tags[HOST] = socket.gethostname()
        tags[TABLES] = json.dumps([{"path": table.name, "type": "table"} for table in tables])
        run = self.runs.get(_key(tags)) or self._make("report", {**tags, ARTIFACTS_TAG: "{}"})
        self._tag(run, tags)
        own = (Artifact(path.relative_to(place).as_posix(), path) for path in files)
        send(self.client, run, [*seen, *floors, *own, *tables])
        self._tag(run, {LOOKS: str(len(looks))})  # they are there, all of them
        self._end(run)


def _key(tags: Mapping[str, str]) -> Key:
    kind = tags["kind"]
    return kind, tags.get("report" if kind == REPORT else "arm", "")


def _tables(place: Path) -> list[Artifact]:
    """The scores and the verdict in the form of MLflow's `log_table`, which itself would append to what is there."""
    tables = []
    scores = list(csv.reader(io.StringIO(overview.text_of(place / "table.csv"))))
    if len(scores) > 1:
        kept = [i for i, name in enumerate(scores[0]) if name != "kind" and not name.endswith(" protocol")]
        header, *rows = [[row[i] for i in kept] for row in scores]
        tables.append(_table("tables/scores.json", header, rows))
    verdicts = overview.verdicts(place)
    if verdicts:
        columns = [key for key, value in verdicts[0].items() if not isinstance(value, (list, dict))]
        tables.append(_table("tables/verdict.json", columns, [[one.get(key) for key in columns] for one in verdicts]))
    return tables


def _table(name: str, columns: list[str], rows: list[list[Any]]) -> Artifact:
    return Artifact(name, json.dumps({"columns": columns, "data": rows}).encode())
