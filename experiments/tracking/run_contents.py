"""What MLflow says of a replicate's run, read from its folder: tags, params, metric points, and its data."""

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.results.mixed_code import mixed_code
from analysis.results.mlflow_names import REPLICATE, TRIAL, metric_key
from experiments.record.recording import bound_code, prepared_data
from experiments.tracking.metric_points import MetricLines, flat
from registry.errors import RunError
from registry.runs.code_used import made_by
from registry.runs.floors import own_floors
from registry.runs.machine import ROOT
from registry.runs.places import LOAD_FILE, experiment_of
from registry.runs.records import MadeBy, Result, State
from registry.runs.replicate import Replicate
from registry.runs.resolved_experiment import ResolvedArm, ResolvedExperiment
from registry.runs.stored import desires, evaluations_in, pace_of, read_lines, read_spec
from registry.schema.result_columns import PACE
from registry.schema.search import is_trial

PACES = {
    PACE[0]: "training_clips_per_second"
}  # what is called otherwise than in a result: sampling has such a figure too

LONGEST = {"tag": 5000, "param": 6000}  # characters

CURRENT = "current"  # a tag: whether the newest launch still has the arm of a run; of a trial always `yes`
SOURCE_TYPE = "mlflow.source.type"  # a tag that MLflow itself knows: `LOCAL`, or `JOB` for one of a cluster


def replicate_id(replicate: Replicate) -> str:
    """Return the replicate id, a tag of its run."""
    return f"{replicate.identity}/seed-{replicate.seed}"


def kind_of(replicate: Replicate) -> str:
    """Return the tag `kind` of a replicate's run."""
    return TRIAL if is_trial(replicate.arm) else REPLICATE


def tags_of(replicate: Replicate, state: State, resolved: ResolvedExperiment | None) -> dict[str, str]:
    """Return the tags of a replicate's run, those that MLflow itself knows among them.

    Args:
        replicate: whose run it is.
        state: of the replicate.
        resolved: its experiment, where a launch has noted it.
    """
    result, attempts = replicate.result(), replicate.attempts()
    code = bound_code(replicate.training)
    tags: dict[str, Any] = {
        "kind": kind_of(replicate),
        "replicate": replicate_id(replicate),
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
        SOURCE_TYPE: "JOB" if attempts and attempts[-1].job else "LOCAL",
    }
    tags |= own_tags([replicate], resolved)
    tags |= {f"axis.{axis}": label for axis, label in replicate.axes.items()}
    tags |= {f"protocol.{metric_key(name)}": mark for name, mark in (result.protocols if result else {}).items()}
    tags |= {f"code.{metric_key(name)}": ", ".join(digests) for name, digests in _digests(made_by(replicate)).items()}
    return {key: str(value)[: LONGEST["tag"]] for key, value in tags.items() if value not in (None, "")}


def own_tags(replicates: Sequence[Replicate], resolved: ResolvedExperiment | None) -> dict[str, str]:
    """Return user, source and commit as the tags that MLflow itself knows, each where the replicates agree in it.

    Args:
        replicates: of a run: one, those of an arm, or all that a report is of.
        resolved: their experiment, where a launch has noted it.
    """
    users = {_owner(one.training) for one in replicates}
    commits = {bound_code(one.training).get("commit") for one in replicates}
    tags = {
        "mlflow.user": users.pop() if len(users) == 1 else None,
        "mlflow.source.name": resolved.file if resolved and resolved.file else str(ROOT / "run.py"),
        "mlflow.source.git.commit": commits.pop() if len(commits) == 1 else None,
    }
    return {key: str(value) for key, value in tags.items() if value}


def _owner(folder: Path) -> str | None:
    with contextlib.suppress(OSError, KeyError, NotImplementedError):  # a user whom this machine does not know
        return folder.owner()
    return None


def _digests(made: MadeBy) -> dict[str, list[str]]:
    """The digests of training and evaluation together, each once."""
    found: dict[str, list[str]] = {}
    for name, digests in (*made.training.items(), *made.evaluation.items()):
        found[name] = list(dict.fromkeys([*found.get(name, ()), *digests]))
    return found


def mixed_code_of(replicates: Sequence[Replicate]) -> dict[Path, str]:
    """Return folder -> where that replicate and others of these were made by different code."""
    mixed = mixed_code((one.arm, one.seed, made_by(one).model_dump(mode="json")) for one in replicates)
    return {
        one.folder: "; ".join(map(str, own))
        for one in replicates
        if (own := [part for part in mixed if any(one.seed in group.get(one.arm, ()) for group in part.groups)])
    }


def params_of(replicate: Replicate) -> dict[str, str]:
    """Return the science half of the spec, one param a leaf."""
    return {key: str(value)[: LONGEST["param"]] for key, value in flat(replicate.spec.science())}


def metrics_of(replicate: Replicate, resolved: ResolvedExperiment | None) -> MetricLines:
    """Return the metric points of a replicate: curves of its training and its scores, load of the machine, and costs.

    Scores at earlier steps, where the experiment evaluates on the way, are points of the same curve.
    """
    evaluations = [*(folder for _, folder in on_the_way(replicate)), replicate.folder]
    paths = [replicate.training / "metrics.jsonl", *(folder / "metrics.jsonl" for folder in evaluations)]
    read = MetricLines.read(*paths).with_lines(_load(replicate.training))
    result = replicate.result()
    if result is None:
        return read.with_lines(()).with_lines(())
    at = {"step": result.step, "time": (replicate.folder / "result.json").stat().st_mtime}
    arm = resolved.arms.get(replicate.arm) if resolved else None
    facts = _facts(result, arm if arm and arm.identity == replicate.identity else None)
    facts |= {f"resources/{PACES.get(name, name)}": value for name, value in pace_of(replicate.training).items()}
    floors = _floors(replicate, result)
    return read.with_lines([{**at, **facts}]).with_lines([{**at, **floors}] if floors else [])


def on_the_way(replicate: Replicate) -> list[tuple[int, Path]]:
    """Return step and folder of the finished evaluations that go before a replicate's own, in their order.

    They are of the same training, for the same arm and in the same way, at earlier steps.
    """
    folders = [folder for folder in evaluations_in(replicate.training) if folder.name != replicate.folder.name]
    found = []
    for folder in folders:
        if not (folder / "result.json").exists():
            continue
        if not any((one.experiment, one.arm) == (replicate.experiment, replicate.arm) for one in desires(folder)):
            continue
        with contextlib.suppress(RunError):
            sampling = read_spec(folder).sampling
            same = replicate.spec.model_copy(update={
                "sampling": replicate.spec.sampling.model_copy(update={"step": sampling.step})})  # fmt: skip
            if same.evaluation == folder.name and sampling.step is not None:
                found.append((sampling.step, folder))
    return sorted(found)


def _load(training: Path) -> Iterator[dict[str, Any]]:
    """The load of the machine, in the group that MLflow's page shows under system metrics."""
    for number, line in enumerate(read_lines(training / LOAD_FILE)):
        values = {f"system/{name}": value for name, value in line.items() if name != "time"}
        yield {"step": number, "time": line.get("time", 0.0), **values}


def _facts(result: Result, arm: ResolvedArm | None) -> dict[str, float]:
    """What the network has, what it took, and the intervals of the scores."""
    facts: dict[str, float] = {"network/parameters": float(result.parameters)} if result.parameters else {}
    if arm is not None:
        facts |= {f"network/{name}": float(value) for name, value in arm.macs.items()}
    facts |= {f"resources/seconds_{name}": value for name, value in result.seconds_of.items()}
    facts |= {"resources/seconds": result.seconds} if result.seconds else {}
    sampled = max((_count(details, "n_fake") for details in result.score_details.values()), default=0)
    if sampled and (seconds := result.seconds_of.get("sampling")):
        facts["resources/clips_per_second"] = sampled / seconds
    if result.step and (seconds := result.seconds_of.get("training")):
        facts["resources/steps_per_second"] = result.step / seconds
    for score, details in result.score_details.items():
        low, high = (details.get("interval") or (None, None)) if isinstance(details, Mapping) else (None, None)
        if isinstance(low, float) and isinstance(high, float):
            facts |= {f"{score}_low": low, f"{score}_high": high}
    return facts


def _count(details: Any, name: str) -> int:
    value = details.get(name) if isinstance(details, Mapping) else None
    return value if isinstance(value, int) else 0


def _floors(replicate: Replicate, result: Result) -> dict[str, float]:
    """What real clips score against real clips by the protocol of each of a result's scores, the mean over draws."""
    experiment = experiment_of(replicate.link)
    known = _real_floors(experiment, _mtime(experiment / "floors.json"))
    by_score = {score: known.get((score, result.protocols.get(score))) for score in result.scores}
    return {f"{score}_floor": value for score, value in by_score.items() if value is not None}


@functools.lru_cache(maxsize=8)
def _real_floors(experiment: Path, changed: float) -> dict[tuple[str, str | None], float]:
    """(Score, protocol) -> the mean over draws."""
    found = {}
    for floor in own_floors(experiment, ()):
        values = floor["values"]
        if floor["floor"] == "real_halves" and values:
            found[floor["metric"], floor.get("protocol")] = sum(values) / len(values)
    return found


def _mtime(path: Path) -> float:
    with contextlib.suppress(OSError):
        return path.stat().st_mtime
    return 0.0


def dataset_of(replicate: Replicate) -> Any:
    """Return the data that a replicate was trained on as MLflow takes it, None before they were prepared."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    prepared = prepared_data(replicate.training)
    if prepared is None:
        return None
    name = replicate.spec.data.dataset.name
    dataset = Dataset(name=name, digest=prepared.digest[:36], source_type="local", source=prepared.folder)
    tags = [InputTag("mlflow.data.context", "training"), InputTag("split", "train")]
    return DatasetInput(dataset=dataset, tags=tags)
