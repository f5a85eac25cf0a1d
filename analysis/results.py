"""Replicates -> one tidy frame: a row per replicate, a column per axis and per score."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from registry.errors import RunError

FIXED = ("experiment", "arm", "seed", "identity", "state", "folder")
RECORDED = ("data_digest", "protocol", "steps", "seconds")
COMPARABLE = ("data_digest", "protocol")
DONE = "done"


def load(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """The replicates as a frame: the columns of `FIXED` and `RECORDED`, one per axis, one per score.

    A replicate without a result keeps its row; its recorded columns and scores are missing.

    Args:
        rows: one mapping per replicate with the keys of `FIXED`, `axes` (axis -> value) and `result`
            (the content of result.json, or None).

    Raises:
        RunError: an axis or a score has the name of another column, or a replicate appears twice.
    """
    rows = list(rows)
    axes = list(dict.fromkeys(axis for row in rows for axis in row["axes"]))
    scores = list(dict.fromkeys(name for row in rows for name in (row["result"] or {}).get("scores", {})))
    names = [*FIXED, *RECORDED, *axes, *scores]
    for name in names:
        if names.count(name) > 1:
            raise RunError(f"two columns of the results are named {name!r}; rename the axis or the score")
    frame = pd.DataFrame([_flat(row) for row in rows], columns=names)
    for name in ("steps", "seconds", *scores):
        frame[name] = pd.to_numeric(frame[name], errors="coerce").astype("float64")
    twice = frame[frame.duplicated(["experiment", "arm", "seed"])]
    if len(twice):
        row = twice.iloc[0]
        folders = frame.loc[(frame["arm"] == row["arm"]) & (frame["seed"] == row["seed"]), "folder"]
        raise RunError(f"arm {row['arm']!r} has seed {row['seed']} twice: {', '.join(map(str, folders))}")
    return frame


def done(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of the replicates that are done."""
    return frame[frame["state"] == DONE]


def score_names(frame: pd.DataFrame) -> list[str]:
    """The columns that hold scores."""
    fixed = {*FIXED, *RECORDED}
    return [str(name) for name in frame.columns if name not in fixed and frame[name].dtype == "float64"]


def scores_by_seed(frame: pd.DataFrame, arm: str, metric: str) -> pd.Series:
    """An arm's score for every planned seed, float64, indexed by seed; missing where there is none (yet)."""
    rows = frame[frame["arm"] == arm]
    if metric not in frame:
        return pd.Series(float("nan"), index=pd.Index(rows["seed"]), dtype="float64")
    return pd.Series(rows[metric].where(rows["state"] == DONE).to_numpy("float64"), index=pd.Index(rows["seed"]))


def refuse_mixed(frame: pd.DataFrame, arms: Sequence[str]) -> None:
    """Make sure that the finished replicates of these arms were measured on the same data by the same protocol.

    Raises:
        RunError: they were not; the message names the arms and the values that differ.
    """
    rows = done(frame)
    rows = rows[rows["arm"].isin(list(arms))]
    for column in COMPARABLE:
        arms_by_value: dict[str, list[str]] = {}
        for arm, value in zip(rows["arm"], rows[column], strict=True):
            text = "not recorded" if pd.isna(value) else str(value)
            if arm not in arms_by_value.setdefault(text, []):
                arms_by_value[text].append(arm)
        if len(arms_by_value) > 1:
            told = "; ".join(f"{value} (arm {', '.join(named)})" for value, named in arms_by_value.items())
            raise RunError(
                f"scores with different {column} cannot be compared: {told}; "
                "run the older replicates again, or keep the two apart as experiments"
            )


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    result = row["result"] or {}
    recorded = {name: result.get(name) for name in RECORDED}
    for name in COMPARABLE:
        if isinstance(recorded[name], dict | list):
            recorded[name] = json.dumps(recorded[name], sort_keys=True)
    return {**{name: row[name] for name in FIXED}, **recorded, **row["axes"], **result.get("scores", {})}
