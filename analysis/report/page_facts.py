"""What a report's page says in words and numbers: claims, cost, protocols, provenance, and what is undecided."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.results.results_frame import done
from analysis.results.tunings import tuning_rows
from analysis.tables.rendering import COLUMNS, cells
from analysis.tables.score_table import NOTHING
from analysis.verdicts.agreement import Agreement, agreement_of
from analysis.verdicts.matchings import side_by_side
from analysis.verdicts.verdict import Verdict
from registry.runs.records import read_json
from registry.runs.resolved_experiment import ResolvedExperiment

MOST_REPLICATES = 400  # in the table of runs


@dataclass(frozen=True)
class Table:
    """A table of a page: the first cell of a row names it."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def answer_facts(answer: Verdict, agreements: Sequence[Agreement]) -> dict[str, Any]:
    """Return a claim, its verdict, what the verdict rests on, and whether those in its other scores agree.

    Args:
        answer: to the claim.
        agreements: of all claims that are judged in several scores.
    """
    together = agreement_of(answer, agreements)
    skipped = ("verdict",)
    numbers = [pair for pair in zip(COLUMNS, cells(answer), strict=True) if pair[0] not in skipped]
    return {
        "claim": answer.claim.text, "axis": answer.claim.axis, "verdict": answer.verdict, "numbers": numbers,
        "reason": answer.reason, "agreement": together.text if together else "",
        "warnings": answer.warnings, "harmless": answer.harmless,
    }  # fmt: skip


def by_matching(answers: Sequence[Verdict]) -> Table:
    """Return each claim whose arms are matched in several ways, with its verdict by way; no rows where none is."""
    found = side_by_side(answers)
    ways = list(dict.fromkeys(way for one in found for way in one.by_way))
    rows = [
        [f"{one.claim.text} ({one.claim.axis}) in {one.claim.metric}", *(one.by_way.get(way, NOTHING) for way in ways)]
        for one in found
    ]
    return Table(["claim", *(f"at equal {way}" for way in ways)], rows)


def tuned(about: ResolvedExperiment) -> Table:
    """Return every candidate of the arms that were tuned, and which of them was chosen; no rows where none was."""
    return Table(["arm", "tried", "score", ""], tuning_rows(about.tuned))


def costs(about: ResolvedExperiment, frame: pd.DataFrame) -> Table:
    """Return by arm: parameters, multiply-accumulates of a clip, and the mean seconds of a replicate by stage."""
    ended = done(frame)
    read: dict[str, list[dict[str, Any]]] = {}
    for name, folder in zip(ended["arm"], ended["folder"], strict=True):
        read.setdefault(name, []).append(read_json(Path(folder) / "result.json") or {})
    stages = list(dict.fromkeys(stage for results in read.values() for one in results for stage in _seconds_of(one)))
    header = ["arm", "parameters", "MACs of a clip", "replicates", "seconds", *stages, "device"]
    rows, mean_seconds = [], ended.groupby("arm")["seconds"].mean()
    for name, arm in about.arms.items():
        results = read.get(name, [])
        by_stage = [_mean([_seconds_of(result).get(stage) for result in results]) for stage in stages]
        devices = sorted({str(result.get("device") or "") for result in results})
        rows.append([
            name, _count(arm.parameters), _count(arm.macs.get("evaluated")), str(len(results)),
            _number(float(mean_seconds.get(name, math.nan))), *by_stage, ", ".join(filter(None, devices)) or NOTHING,
        ])  # fmt: skip
    return Table(header, rows)


def protocols(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return each protocol that something was measured by: its fingerprint, its metrics, and all its settings."""
    metrics: dict[str, list[str]] = {}
    specs: dict[str, Any] = {}
    ended = done(frame)
    for named, own in zip(ended["protocols"], ended["protocol_specs"], strict=True):
        for metric, fingerprint in (named if isinstance(named, Mapping) else {}).items():
            if metric not in metrics.setdefault(str(fingerprint), []):
                metrics[str(fingerprint)].append(metric)
        specs |= own if isinstance(own, Mapping) else {}
    return [
        {"fingerprint": name, "metrics": ", ".join(own), "settings": list(_leaves(specs.get(name) or {}))}
        for name, own in metrics.items()
    ]


def provenance(frame: pd.DataFrame) -> list[tuple[str, str]]:
    """Return what made the replicates: commit, versions and machines, each with how many replicates it made."""
    counts: dict[str, dict[str, int]] = {}
    ended = done(frame)
    for folder in map(Path, ended["folder"]):
        made = read_json(folder.parent.parent / "provenance.json") or {}
        code = made.get("code") or {}
        commit = str(code.get("commit") or "not recorded") + (" with changes" if code.get("changed") else "")
        packages = made.get("packages") or {}
        facts = {
            "commit": commit, "Python": made.get("python"), "machine": made.get("host"),
            "processor": made.get("processor"), "GPU": made.get("gpu"), "CPU cores": made.get("cpus"), **packages,
        }  # fmt: skip
        for name, value in facts.items():
            if value not in (None, ""):
                own = counts.setdefault(str(name), {})
                own[str(value)] = own.get(str(value), 0) + 1
    return [
        (name, ", ".join(value if len(own) == 1 else f"{value} ({n} replicates)" for value, n in own.items()))
        for name, own in counts.items()
    ]


def replicates(frame: pd.DataFrame) -> Table:
    """Return the runs: arm, seed, state, and the names of the folders of training and evaluation."""
    rows = [
        [str(arm), str(seed), str(state), Path(folder).parent.parent.parent.name, Path(folder).name, _number(seconds)]
        for arm, seed, state, folder, seconds in zip(
            *(frame[name] for name in ("arm", "seed", "state", "folder", "seconds")), strict=True
        )
    ]
    if (more := len(rows) - MOST_REPLICATES) > 0:
        rows = [*rows[:MOST_REPLICATES], [f"and {more} more", *[NOTHING] * 5]]
    return Table(["arm", "seed", "state", "training", "evaluation", "seconds"], rows)


def undecided(answers: Sequence[Verdict], frame: pd.DataFrame) -> list[dict[str, str]]:
    """Return each claim without an answer, why that is so, and what an answer would take."""
    return [
        {"claim": answer.claim.text, "why": answer.reason, "takes": _takes(answer, frame)}
        for answer in answers
        if answer.verdict in ("undecided", "refused")
    ]


def _takes(answer: Verdict, frame: pd.DataFrame) -> str:
    """What would decide a claim: the replicates that are not done, or more seeds, and what they cost."""
    arms = dict.fromkeys(answer.claim.arms)
    own = frame[frame["arm"].isin(list(arms))]
    ended = done(own)
    seconds = {arm: float(ended.loc[ended["arm"] == arm, "seconds"].mean()) for arm in arms}
    if missing := len(own) - len(ended):
        return f"{missing} of {len(own)} replicates are not done yet: launch the experiment again."
    if answer.course is not None and answer.course.next is not None:
        return f"{answer.course.next} seeds at the next look: launch the experiment again."
    if answer.seeds_needed is None:
        return ""
    more = answer.seeds_needed - answer.n
    total = sum(value for value in seconds.values() if value == value) * more
    spent = f", about {_duration(total)} of work as long as the replicates took that are done" if total else ""
    seeds = f"{more} more seed{'' if more == 1 else 's'} of {len(arms)} arms"
    return f"About {answer.seeds_needed} seeds in all (an estimate, from the spread of {answer.n}): {seeds}{spent}."


def _leaves(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """A nested mapping as dotted keys and their values."""
    for key, below in value.items():
        if isinstance(below, Mapping) and below:
            yield from _leaves(below, f"{prefix}{key}.")
        elif below not in ({}, []):
            yield f"{prefix}{key}", ", ".join(map(str, below)) if isinstance(below, list) else str(below)


def _seconds_of(result: Mapping[str, Any]) -> dict[str, float]:
    found = result.get("seconds_of")
    return {str(name): float(value) for name, value in found.items()} if isinstance(found, dict) else {}


def _mean(values: Any) -> str:
    numbers = pd.Series([value for value in values if value is not None], dtype="float64").dropna()
    return _number(numbers.mean()) if len(numbers) else NOTHING


def _number(value: float) -> str:
    return NOTHING if value != value else f"{value:,.1f}" if value < 1000 else f"{value:,.0f}"


def _count(value: int | None) -> str:
    """`731.6 K`: a count of parameters or multiply-accumulates."""
    if value is None:
        return NOTHING
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "K")):
        if value >= size:
            return f"{value / size:.4g} {unit}"
    return str(value)


def _duration(seconds: float) -> str:
    for size, unit in ((3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.2g} {unit}" if seconds < 100 * size else f"{seconds / size:,.0f} {unit}"
    return f"{seconds:.2g} seconds"
