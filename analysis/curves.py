"""The logged lines of trainings as one frame, through a Parquet file a training that is never out of date."""

import contextlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from registry.runs.files import atomic
from registry.runs.places import TRAININGS
from registry.runs.stored import read_metrics

CACHE = "_curves"  # in the folder of all runs; may be removed at any time
_MADE_FROM = b"made_from"  # what metrics.jsonl was when it was read
_VERSION = "1"


def curves(replicates: Iterable[tuple[str, int, Path]], metrics: Sequence[str] = ()) -> pd.DataFrame:
    """Return the logged lines of trainings, a row for each step of each.

    Args:
        replicates: arm, seed and the training's folder.
        metrics: only these of what was logged; none: all.

    Returns:
        The columns `arm` (categorical), `seed`, `step`, and one float64 column for each metric. Where a training wrote
        a step twice, since it went on from an earlier checkpoint, the last value counts.
    """
    replicates = list(replicates)
    frames, arms = [], list(dict.fromkeys(arm for arm, _, _ in replicates))
    for arm, seed, training in replicates:
        own = _lines(training)
        if len(own):
            wanted = [name for name in own.columns if name == "step" or not metrics or name in metrics]
            frames.append(own[wanted].assign(arm=pd.Categorical([arm], categories=arms).repeat(len(own)), seed=seed))
    if not frames:
        return pd.DataFrame({"arm": pd.Categorical([], categories=arms), "seed": [], "step": []})
    whole = pd.concat(frames, ignore_index=True)
    return whole[["arm", "seed", "step", *(name for name in whole.columns if name not in ("arm", "seed", "step"))]]


def _lines(training: Path) -> pd.DataFrame:
    """The lines of a training's metrics.jsonl by step, from the cache where it was made from the file as it is."""
    source = training / "metrics.jsonl"
    made_from = _state(source)
    cache = training.parent.parent.parent / CACHE / f"{training.parent.name}-{training.name}.parquet"
    if training.parent.parent.name != TRAININGS:
        return _parsed(training)
    with contextlib.suppress(OSError, pa.ArrowException, KeyError, ValueError):
        table = pq.read_table(cache, memory_map=True, use_threads=False)
        if (table.schema.metadata or {})[_MADE_FROM].decode() == made_from:
            return table.to_pandas()
    lines = _parsed(training)
    if made_from and _state(source) == made_from:  # it may have grown while it was read
        with contextlib.suppress(OSError):  # folders of others cannot be written: then there is no cache
            _keep(cache, lines, made_from)
    return lines


def _state(source: Path) -> str:
    """What tells one state of a file from another; empty where there is no file."""
    try:
        stat = source.stat()
    except OSError:
        return ""
    return f"{_VERSION} {stat.st_ino} {stat.st_size} {stat.st_mtime_ns}"


def _parsed(training: Path) -> pd.DataFrame:
    numbers = [
        {key: value for key, value in line.items() if isinstance(value, (int, float)) and key != "time"}
        for line in read_metrics(training)
    ]
    if not numbers:
        return pd.DataFrame({"step": pd.Series([], dtype="int64")})
    frame = pd.DataFrame(numbers).groupby("step", sort=True).last().astype("float64")
    return frame.reset_index().astype({"step": "int64"})


def _keep(cache: Path, lines: pd.DataFrame, made_from: str) -> None:
    table = pa.Table.from_pandas(lines, preserve_index=False)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), _MADE_FROM: made_from.encode()})
    os.makedirs(cache.parent, exist_ok=True)
    with atomic(cache) as file:
        pq.write_table(table, file)
