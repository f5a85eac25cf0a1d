"""Replicates -> one tidy frame: a row per replicate, a column per axis and per score; and what may be compared."""

import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from registry.errors import RunError
from registry.experiment.claims import VALIDATION_LOSS, recorded_name
from registry.schema.differences import differing
from registry.schema.protocol import fingerprint
from registry.schema.result_columns import FIXED, LOSS_PROTOCOL, PACE, RECORDED

DONE = "done"
OF_OTHER = {
    "data": "on the data of the other",
    "protocols": "with the scoring of the other",
    "data or diffusion": "with the data and the diffusion of the other",
}


def load(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """The replicates as a frame: the columns of `FIXED` and `RECORDED`, one per axis, one per score.

    A replicate without a result keeps its row; its recorded columns and scores are missing. `protocols` holds a
    mapping from each score's name to its protocol's fingerprint, `protocol_specs` one from fingerprint to protocol, and
    `made_by` the digests of the code that made it (`analysis.results.mixed_code`). An axis stands in `axis_column`.
    `loss_protocol` has what the validation loss is of (`registry.experiment.comparable`), which no result records.

    Args:
        rows: one mapping per replicate with the keys of `FIXED`, `axes` (axis -> value), `result` (the content of
            result.json, or None), and, where it is known, `loss_protocol`.

    Raises:
        RunError: a score has the name of another column, or a replicate appears twice.
    """
    rows = list(rows)
    axes = list(dict.fromkeys(axis_column(axis) for row in rows for axis in row["axes"]))
    scores = list(dict.fromkeys(name for row in rows for name in (row["result"] or {}).get("scores", {})))
    names = [*FIXED, *RECORDED, *axes, *scores]
    for name in names:
        if names.count(name) > 1:
            raise RunError(f"two columns of the results are named {name!r}; rename the score")
    frame = pd.DataFrame([_flat(row) for row in rows], columns=names)
    for name in ("steps", "seconds", "parameters", *PACE, *scores):
        frame[name] = pd.to_numeric(frame[name], errors="coerce").astype("float64")
    twice = frame[frame.duplicated(["experiment", "arm", "seed"])]
    if len(twice):
        row = twice.iloc[0]
        folders = frame.loc[(frame["arm"] == row["arm"]) & (frame["seed"] == row["seed"]), "folder"]
        raise RunError(f"arm {row['arm']!r} has seed {row['seed']} twice: {', '.join(map(str, folders))}")
    return frame


def axis_column(axis: str, taken: Collection[str] = (*FIXED, *RECORDED)) -> str:
    """Return the column of an axis: its name, or `axis.steps` where `steps` is taken.

    No axis of a file has such a name (`registry.experiment.expand.axis_names`); one of an older launch may.
    """
    return f"axis.{axis}" if axis in taken else axis


def done(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of the replicates that are done."""
    return frame[frame["state"] == DONE]


def score_names(frame: pd.DataFrame) -> list[str]:
    """The columns that hold scores."""
    fixed = {*FIXED, *RECORDED}
    return [str(name) for name in frame.columns if name not in fixed and frame[name].dtype == "float64"]


def shown_scores(frame: pd.DataFrame) -> list[str]:
    """The scores that are shown where none is named: all but those of single noise bands."""
    return [name for name in score_names(frame) if "_band_" not in name]


def full_name(frame: pd.DataFrame, metric: str) -> str:
    """The column of the score that a claim names; see `recorded_name`."""
    return recorded_name(metric, frame.columns if metric in frame else score_names(frame))


def scores_by_seed(frame: pd.DataFrame, arm: str, metric: str) -> pd.Series:
    """An arm's score for every planned seed, float64, indexed by seed; missing where there is none (yet)."""
    return scores_by_arm(frame, [arm], metric)[arm]


def scores_by_arm(frame: pd.DataFrame, arms: Sequence[str], metric: str) -> dict[str, pd.Series]:
    """`scores_by_seed` of several arms."""
    places: dict[str, list[int]] = {arm: [] for arm in arms}
    for place, arm in enumerate(frame["arm"].tolist()):
        if arm in places:
            places[arm].append(place)
    seeds = frame["seed"].to_numpy()
    scores = frame[metric].to_numpy("float64") if metric in frame else np.full(len(frame), np.nan)
    scores = np.where(frame["state"].to_numpy() == DONE, scores, np.nan)
    return {arm: pd.Series(scores[at], index=pd.Index(seeds[at])) for arm, at in places.items()}


def paired_scores(scores: Sequence[pd.Series]) -> NDArray[np.float64]:
    """(seeds, arms) float64: the scores of the seeds that are finite in every arm, in the order of the seeds.

    Args:
        scores: one series per arm, as `scores_by_seed` gives them.
    """
    by_seed = [dict(zip(own.index.tolist(), own.tolist(), strict=True)) for own in scores]
    shared = sorted(set(by_seed[0]).intersection(*by_seed[1:]))
    table = np.array([[own[seed] for own in by_seed] for seed in shared], dtype=np.float64).reshape(-1, len(by_seed))
    finite: NDArray[np.float64] = table[np.isfinite(table).all(axis=1)]
    return finite


def refuse_mixed(frame: pd.DataFrame, arms: Sequence[str], metric: str) -> None:
    """Make sure that this score of these arms was measured on the same data by the same protocol.

    Raises:
        RunError: it was not; the message names the arms on either side and shows where the protocols differ.
    """
    protocol_of(frame, arms, metric)


def protocol_of(frame: pd.DataFrame, arms: Sequence[str], metric: str) -> str | None:
    """The fingerprint of the one protocol by which this score of these arms was measured, None where there is none.

    The validation loss and its noise bands have none, and are refused all the same where they are of other data or
    another diffusion.

    Raises:
        RunError: as `refuse_mixed`.
    """
    measured = list(_measured(frame, arms, metric))
    _refuse_mixed_data(measured, metric)
    arms_by_protocol: dict[str | None, dict[str, None]] = {}
    specs: dict[str | None, Any] = {}
    for own in measured:
        arms_by_protocol.setdefault(own.protocol, {})[own.arm] = None
        specs.update(own.specs.items())
    if is_loss(metric):
        arms_by_protocol.pop(None, None)  # what is not known says nothing
    if len(arms_by_protocol) > 1:
        what = "data or diffusion" if is_loss(metric) else "protocols"
        raise RunError(_refusal(metric, what, arms_by_protocol, _differences(list(arms_by_protocol), specs)))
    return None if is_loss(metric) else next(iter(arms_by_protocol), None)


def refuse_mixed_data(frame: pd.DataFrame, arms: Sequence[str], metric: str) -> None:
    """Make sure that this score of these arms was measured on the same prepared data.

    Raises:
        RunError: it was not.
    """
    _refuse_mixed_data(_measured(frame, arms, metric), metric)


def _refuse_mixed_data(measured: Iterable["_Measured"], metric: str) -> None:
    arms_by_digest: dict[str | None, dict[str, None]] = {}
    for own in measured:
        arms_by_digest.setdefault(own.data, {})[own.arm] = None
    if len(arms_by_digest) > 1:
        raise RunError(_refusal(metric, "data", arms_by_digest, []))


def is_loss(metric: str) -> bool:
    """Whether a score is the validation loss, or that of one of its noise bands."""
    return metric.startswith(VALIDATION_LOSS)


def loss_protocols(frame: pd.DataFrame, arms: Sequence[str], metric: str) -> dict[str, Mapping[str, Any]]:
    """Arm -> what its validation loss is of, as nested plain values, where it has one and that is known."""
    return {own.arm: own.specs[own.protocol] for own in _measured(frame, arms, metric) if own.protocol is not None}


@dataclass(frozen=True)
class _Measured:
    """A replicate's score: digest of the prepared data, fingerprint of the protocol, and specs by fingerprint."""

    arm: str
    data: str | None
    protocol: str | None
    specs: Mapping[str, Any]


def _measured(frame: pd.DataFrame, arms: Sequence[str], metric: str) -> Iterator[_Measured]:
    """How the score was measured of each replicate of these arms that has it."""
    wanted, of_losses = set(arms), _of_losses(frame) if is_loss(metric) else {}
    scores = frame[metric].tolist() if metric in frame else [None] * len(frame)
    columns = (frame[name].tolist() for name in ("arm", "state", "data_digest", "protocols", "protocol_specs"))
    for arm, state, digest, protocols, own_specs, score in zip(*columns, scores, strict=True):
        named = protocols if isinstance(protocols, Mapping) else {}
        if arm not in wanted or state != DONE or ((score is None or math.isnan(score)) and metric not in named):
            continue
        mark, specs = named.get(metric), own_specs if isinstance(own_specs, Mapping) else {}
        if is_loss(metric):
            mark, specs = of_losses.get(arm, (None, {}))
        yield _Measured(arm, _text(digest), _text(mark), specs)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _of_losses(frame: pd.DataFrame) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """Arm -> the fingerprint of what its validation loss is of, and this by fingerprint; without arms of none."""
    known = {arm: own for arm, own in zip(frame["arm"], frame[LOSS_PROTOCOL], strict=True) if isinstance(own, Mapping)}
    marks = {arm: fingerprint(own) for arm, own in known.items()}
    return {arm: (mark, {mark: known[arm]}) for arm, mark in marks.items()}


def _refusal(metric: str, what: str, owners: Mapping[str | None, Iterable[str]], lines: Sequence[str]) -> str:
    sides = "; ".join(f"{_known(value)} (arm {', '.join(named)})" for value, named in owners.items())
    advice = f"see them apart with `table --only ARM`; to compare them, run one of the two again {OF_OTHER[what]}"
    return "\n".join([f"{metric} of different {what} cannot be compared: {sides}", *lines, advice])


def _differences(fingerprints: Sequence[str | None], specs: Mapping[str | None, Any]) -> list[str]:
    """Where each of the other protocols differs from the first one."""
    first, *others = fingerprints
    lines = []
    for other in others:
        left, right = specs.get(first), specs.get(other)
        if left is None or right is None:
            lines.append(f"  where {_known(first)} and {_known(other)} differ was not recorded")
            continue
        lines.append(f"  {_known(first)} / {_known(other)}:")
        lines += [f"    {key}: {_shown(a)} / {_shown(b)}" for key, a, b in differing(left, right)]
    return lines


def _known(value: str | None) -> str:
    return "not recorded" if value is None else value


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    result = row["result"] or {}
    recorded = {name: result.get(name) for name in RECORDED} | result.get("pace", {})
    recorded[LOSS_PROTOCOL] = row.get(LOSS_PROTOCOL)
    axes = {axis_column(axis): label for axis, label in row["axes"].items()}
    return {**{name: row[name] for name in FIXED}, **recorded, **axes, **result.get("scores", {})}
