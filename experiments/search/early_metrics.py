"""What can be seen of replicates before they are done: their metrics at fixed steps."""

from collections.abc import Mapping, Sequence
from typing import Any

from registry.schema.search import raw_name


def by_step(lines_by_seed: Sequence[Sequence[Mapping[str, Any]]], metric: str) -> dict[int, float]:
    """Step -> mean of the metric over the seeds, at the steps that every seed has got to.

    Where the average of the weights still held much of the initial ones, the metric of the weights themselves counts:
    that of the average would rank arms by how they begin.

    Args:
        lines_by_seed: the lines of each replicate's metrics.jsonl.
        metric: a key of some of them.
    """
    raw = raw_name(metric)
    by_seed = [
        {int(line["step"]): float(line.get(raw, line[metric])) for line in lines if metric in line}
        for lines in lines_by_seed
    ]
    if not by_seed:
        return {}
    shared = sorted(set(by_seed[0]).intersection(*by_seed[1:]))
    return {step: sum(own[step] for own in by_seed) / len(by_seed) for step in shared}
