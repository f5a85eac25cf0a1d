"""Made-up replicates, as `registry.runs` would list them, and claims about them."""

from collections.abc import Mapping, Sequence
from typing import Any

from registry.claim_forms import Margin
from registry.claims import ResolvedClaim


def replicates(
    scores: Mapping[str, Sequence[float | None]],
    metric: str = "fvd",
    protocol: str | None = "p",
    spec: Mapping[str, Any] | None = None,
    **recorded: Any,
) -> list[dict[str, Any]]:
    """One replicate per arm and score; None is a replicate that is not done."""
    rows = []
    for arm, values in scores.items():
        for seed, value in enumerate(values):
            result = {
                "scores": {metric: value},
                "data_digest": "d",
                "protocols": {metric: protocol} if protocol else {},
                "protocol_specs": {protocol: spec} if spec else {},
                "steps": 10,
                "seconds": 1.5,
            }
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


def floor(
    values: Sequence[float], kind: str = "real_halves", metric: str = "fvd", protocol: str = "p", clips: int = 64,
    **fields: Any,
) -> dict[str, Any]:  # fmt: skip
    """A record of floors.json."""
    of_clips = {"n_fake": clips, "n_real": clips, "measured": list(values), "measured_at": [clips, clips]}
    of_videos = {"videos": [clips, clips], "measured_videos": [clips, clips]}
    about = {"floor": kind, "of": "", "metric": metric, "protocol": protocol, "values": list(values)}
    return {**about, **of_clips, **of_videos, **fields}


def claim(better: str = "a", worse: str = "b", metric: str = "fvd", direction: str = "min") -> ResolvedClaim:
    return ResolvedClaim("order", "blocks", (better, worse), (better, worse), metric, direction)


def equivalent(
    first: str = "a", second: str = "b", margin: float = 1.0, unit: str = "score", metric: str = "fvd"
) -> ResolvedClaim:
    of_margin = Margin(value=margin, unit=unit)
    return ResolvedClaim("equivalence", "blocks", (first, second), (first, second), metric, "min", of_margin)


def improving(*arms: str, metric: str = "fvd", direction: str = "min") -> ResolvedClaim:
    return ResolvedClaim("trend", "blocks", arms, arms, metric, direction)
