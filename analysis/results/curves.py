"""The logged lines of trainings as one frame, through a Parquet file a training that is never out of date."""

import contextlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.json as pa_json
import pyarrow.parquet as pq

from registry.runs.files import atomic
from registry.runs.places import TRAININGS
from registry.runs.stored import read_metrics

CACHE = "_curves"  # in the folder of all runs; may be removed at any time
_MADE_FROM = b"made_from"  # what metrics.jsonl was when it was read
_TWO_OF_A_LINE = re.compile(rb"\}[ \t\r]*\{")  # objects, which pyarrow reads as two lines, or so within a text
_VERSION = "4"


@dataclass(frozen=True)
class _Logged:
    """The lines of a file, in its order.

    Args:
        steps: of each line.
        values: metric -> its float64 number in each line.
        there: metric -> whether a line has it; a value that is NaN may have been logged as NaN, or not at all.
    """

    steps: np.ndarray
    values: dict[str, np.ndarray]
    there: dict[str, np.ndarray]


def curves(replicates: Iterable[tuple[str, int, Path]], metrics: Sequence[str] = ()) -> pd.DataFrame:
    """Return the logged lines of trainings, a row for each step of each.

    Args:
        replicates: arm, seed and the training's folder.
        metrics: only these of what was logged; none: all.

    Returns:
        The columns `arm` (categorical), `seed`, `step`, and one float64 column for each metric. Where a training wrote
        a step twice, since it went on from an earlier checkpoint, the last value counts, also where it is NaN.
    """
    replicates = list(replicates)
    arms = list(dict.fromkeys(arm for arm, _, _ in replicates))
    found = [(arm, seed, own) for arm, seed, training in replicates if len(own := _lines(training, metrics))]
    if not found:
        return pd.DataFrame({"arm": pd.Categorical([], categories=arms), "seed": [], "step": []})
    whole = pd.concat([own for _, _, own in found], ignore_index=True)
    lengths = [len(own) for _, _, own in found]
    whole.insert(0, "arm", pd.Series(pd.Categorical([arm for arm, _, _ in found], categories=arms).repeat(lengths)))
    whole.insert(1, "seed", np.repeat([seed for _, seed, _ in found], lengths))
    return whole


def _lines(training: Path, metrics: Sequence[str]) -> pd.DataFrame:
    """The lines of a training's metrics.jsonl by step, from the cache where it was made from the file as it is."""
    source = training / "metrics.jsonl"
    made_from = _state(source)
    cache = training.parent.parent.parent / CACHE / f"{training.parent.name}-{training.name}.parquet"
    if training.parent.parent.name != TRAININGS:
        return _only(_parsed(training), metrics)
    with contextlib.suppress(OSError, pa.ArrowException, KeyError, ValueError), pq.ParquetFile(cache) as kept:
        if (kept.schema_arrow.metadata or {})[_MADE_FROM].decode() == made_from:
            wanted = _wanted(kept.schema_arrow.names, metrics)
            return kept.read(wanted, use_threads=False).to_pandas(ignore_metadata=True)
    lines = _parsed(training)
    if made_from and _state(source) == made_from:  # it may have grown while it was read
        with contextlib.suppress(OSError):  # folders of others cannot be written: then there is no cache
            _keep(cache, lines, made_from)
    return _only(lines, metrics)


def _wanted(names: Iterable[str], metrics: Sequence[str]) -> list[str]:
    """Which columns are asked for, the step first."""
    return ["step", *(name for name in names if name != "step" and (not metrics or name in metrics))]


def _only(lines: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    return lines[_wanted(lines.columns, metrics)]


def _state(source: Path) -> str:
    """What tells one state of a file from another; empty where there is no file."""
    try:
        stat = source.stat()
    except OSError:
        return ""
    return f"{_VERSION} {stat.st_ino} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}"


def _parsed(training: Path) -> pd.DataFrame:
    lines = _read_whole(training / "metrics.jsonl")
    if lines is None:
        lines = _read_line_by_line(training)
    if not (np.diff(lines.steps) > 0).all():
        return _last_of_each_step(lines)
    return pd.DataFrame({"step": lines.steps, **lines.values})


def _last_of_each_step(lines: _Logged) -> pd.DataFrame:
    """Return a line for each step, in their order, with the last value of each metric that was logged there."""
    order = np.argsort(lines.steps, kind="stable")
    steps, starts = np.unique(lines.steps[order], return_index=True)
    ends = np.append(starts[1:], len(order)) - 1
    values = {}
    for name, own in lines.values.items():
        # For each line in that order, the place of the last one up to it that has the metric.
        last = np.maximum.accumulate(np.where(lines.there[name][order], np.arange(len(order)), -1))[ends]
        values[name] = np.where(last >= starts, own[order][last], np.nan)
    return pd.DataFrame({"step": steps, **values})


def _read_whole(file: Path) -> _Logged | None:
    """Read the numbers of a file of undamaged lines at once; None where one is damaged, or there is no file.

    That takes a tenth of the time of `_read_line_by_line`, which finds the same.
    """
    try:
        content = file.read_bytes()
        table = pa_json.read_json(pa.BufferReader(content), pa_json.ReadOptions(use_threads=False))
    except (OSError, pa.ArrowException):
        return None
    if table.num_rows != content.count(b"\n") or _TWO_OF_A_LINE.search(content) or "step" not in table.column_names:
        return None
    if table["step"].type != pa.int64() or table["step"].null_count:
        return None
    names = [own.name for own in table.schema if own.name not in ("step", "time") and _is_number(own.type)]
    return _Logged(
        table["step"].to_numpy(),
        {name: table[name].to_pandas().to_numpy("float64", na_value=np.nan) for name in names},
        {name: table[name].is_valid().to_numpy() for name in names},
    )


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def _read_line_by_line(training: Path) -> _Logged:
    """Read the numbers of lines with a step; damaged ones are passed over."""
    lines = read_metrics(training)
    kept = [{name: value for name, value in line.items() if isinstance(value, (int, float))} for line in lines]
    names = [name for name in dict.fromkeys(name for line in kept for name in line) if name not in ("step", "time")]
    return _Logged(
        np.array([line["step"] for line in lines], dtype="int64"),
        {name: np.array([line.get(name, np.nan) for line in kept], dtype="float64") for name in names},
        {name: np.array([name in line for line in kept], dtype=bool) for name in names},
    )


def _keep(cache: Path, lines: pd.DataFrame, made_from: str) -> None:
    table = pa.Table.from_pandas(lines, preserve_index=False)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), _MADE_FROM: made_from.encode()})
    os.makedirs(cache.parent, exist_ok=True)
    with atomic(cache) as file:
        pq.write_table(table, file)
