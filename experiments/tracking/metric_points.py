"""The metric points of a run folder as MLflow takes them, and what a store has of them.

A point is a metric's value at a step. A resumed attempt drops the lines behind its checkpoint and writes them anew,
with the same steps and later times, so a point is known by its metric and step alone.
"""

import contextlib
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.results.mlflow_names import MAXIMUM, metric_key

Point = tuple[str, int]  # metric, step
Points = dict[Point, tuple[float, int]]  # -> value, time in milliseconds


@dataclass(frozen=True)
class MetricLines:
    """The whole lines of several JSON-lines files; a last line that is still being written is left for another time."""

    contents: tuple[bytes, ...]

    @classmethod
    def read(cls, *paths: Path) -> "MetricLines":
        """Return the lines of files; of those that are not there, none."""
        found = []
        for path in paths:
            content = b""
            with contextlib.suppress(FileNotFoundError):
                content = path.read_bytes()
            found.append(content[: content.rfind(b"\n") + 1])
        return cls(tuple(found))

    def with_lines(self, lines: Iterable[Mapping[str, Any]]) -> "MetricLines":
        """Return these and behind them other lines, as one more file."""
        return MetricLines((*self.contents, "".join(json.dumps(line) + "\n" for line in lines).encode()))

    @property
    def mark(self) -> str:
        """Length and digest of each file: equal for equal content."""
        return " ".join(f"{len(one)} {hashlib.sha256(one).hexdigest()[:16]}" for one in self.contents)

    def points(self) -> Points:
        """Every point once, as first written."""
        found: Points = {}
        for text in (line for content in self.contents for line in content.splitlines()):
            try:
                line = json.loads(text)
                step, milliseconds = int(line["step"]), int(line["time"] * 1000)
            except (ValueError, KeyError, TypeError):
                continue  # cut short by a kill
            for name, value in line.items() if isinstance(line, dict) else ():
                if name not in ("step", "time") and isinstance(value, (int, float)):
                    found.setdefault((metric_key(name), step), (float(value), milliseconds))
        return found

    def appended_to(self, mark: str) -> Points | None:
        """The points behind an earlier state of the files, or None if they do not begin with that state."""
        lengths = mark.split(" ")[::2]
        if len(lengths) != len(self.contents) or not all(length.isdigit() for length in lengths):
            return None
        earlier = MetricLines(tuple(one[: int(length)] for one, length in zip(self.contents, lengths, strict=True)))
        if earlier.mark != mark:
            return None
        had = earlier.points()
        return {point: at for point, at in self.points().items() if point not in had}


def missing(points: Points, histories: Iterable[Iterable[Any]]) -> tuple[Points, bool] | None:
    """The points that a store lacks, and whether it has nothing beyond the file; None if it contradicts the file.

    Args:
        points: of the file.
        histories: `mlflow.entities.Metric`s as the store has them, metric by metric.
    """
    stored: Points = {}
    for metric in (metric for history in histories for metric in history):
        point = (metric.key, metric.step)
        if point in stored:
            return None  # the same step twice, from two writings of the file
        stored[point] = (metric.value, metric.timestamp)
    if any(point in points and not _same(points[point][0], value) for point, (value, _) in stored.items()):
        return None
    return {point: at for point, at in points.items() if point not in stored}, stored.keys() <= points.keys()


def _same(written: float, stored: float) -> bool:
    if math.isinf(written):
        return stored == math.copysign(MAXIMUM, written) or stored == written
    return math.isclose(written, stored, rel_tol=1e-12) or (math.isnan(written) and math.isnan(stored))


def flat(value: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """(dotted key, value) of every leaf of nested mappings."""
    for key, item in value.items():
        if isinstance(item, Mapping):
            yield from flat(item, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", item
