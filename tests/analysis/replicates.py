"""Made-up replicates, as `registry.runs` would list them."""

from collections.abc import Mapping, Sequence
from typing import Any


def replicates(scores: Mapping[str, Sequence[float | None]], metric: str = "fvd", **recorded: Any) -> list[dict]:
    """One replicate per arm and score; None is a replicate that is not done."""
    rows = []
    for arm, values in scores.items():
        for seed, value in enumerate(values):
            result = {"scores": {metric: value}, "data_digest": "d", "protocol": "p", "steps": 10, "seconds": 1.5}
            rows.append(
                {
                    "experiment": "made_up",
                    "arm": arm,
                    "axes": {"blocks": arm},
                    "seed": seed,
                    "identity": f"hash-{arm}",
                    "state": "failed" if value is None else "done",
                    "folder": f"runs/made_up/{arm}/seed-{seed}",
                    "result": None if value is None else {**result, **recorded},
                }
            )
    return rows


def claim(better: str = "a", worse: str = "b", metric: str = "fvd", direction: str = "min") -> dict[str, str]:
    return {
        "axis": "blocks",
        "better": better,
        "worse": worse,
        "better_arm": better,
        "worse_arm": worse,
        "metric": metric,
        "direction": direction,
    }
