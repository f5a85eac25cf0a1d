"""Scores of folders and the protocols that they were measured by, as people see them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from experiments.cli.console import say, table


def show_scores(found: dict[str, Any]) -> None:
    """What `score` measured: each number with its interval, its floor and its protocol; and all that was left out."""
    rows = []
    for row in found["scores"]:
        interval = f"{row['interval'][0]:.4g} to {row['interval'][1]:.4g}" if row["interval"] else ""
        floor = row["floors"].get("real_halves")
        beside = f"{floor['mean']:.4g}" if floor else ""
        counts = f"{row['n_fake']} and {row['n_real']}"
        rows.append([row["metric"], f"{row['value']:.6g}", interval, counts, beside, row["protocol"]])
    table(["metric", "score", "95 % (clips)", "clips", "floor: real halves", "protocol"], rows)
    for name in ("samples", "against"):
        side = found[name]
        say(f"{name}: {side['clips']} clips of {side['of_videos']} videos of {side['path']}")
        if side["too_short"]:
            say(f"  {len(side['too_short'])} videos are too short for a clip, the first: {side['too_short'][0]}")
        if side["rejected"]:
            say(f"  {len(side['rejected'])} entries rejected, the first: {': '.join(side['rejected'][0])}")
    floors = [floor for row in found["scores"] for floor in row["floors"].values()]
    if scaled := next((f for f in floors if list(f["measured_at"]) != [f["n_fake"], f["n_real"]]), None):
        fake, real = scaled["measured_at"]
        videos = scaled["measured_videos"]
        of = f" of {videos[0]} and {videos[1]} videos" if videos and videos != scaled["measured_at"] else ""
        say(f"floors: measured with {fake} and {real} clips{of}, brought to the score's counts by the law of its bias")
    for told in found["differs"]:
        say(f"NOTE: not the same measurement as the one that lent its protocol: {told}")
    if any(row["interval"] and row["details"].get("slices", 8) < 8 for row in found["scores"]):
        say("NOTE: few videos: the intervals come from 4 slices and are rough")
    if found["shared_videos"]:
        say(f"NOTE: {found['shared_videos']} videos are on both sides; that makes a score better than it is")
    for row in found["scores"]:
        if said := row["details"].get("says"):
            say(f"{row['metric']}: {said}")
    for told in found["cautions"]:
        say(told)
    say(f"wrote {Path(found['out']) / 'scores.json'}, {found['plot'] or 'no plot: too few clips for an N-curve'}")


def show_protocols(found: dict[str, Any]) -> None:
    """Each protocol as a table of dotted keys."""
    for name, values in found.items():
        table(["key", "value"], [[key, _plain(value)] for key, value in flat(values)], title=name)


def show_protocol_diff(left: str, right: str, rows: Sequence[tuple[str, Any, Any]]) -> None:
    """The keys in which two protocols differ."""
    if not rows:
        return say("the two are the same")
    flat_rows = [
        (f"{key}.{inner}" if inner else key, _plain(a), _plain(b))
        for key, left_value, right_value in rows
        for inner, a, b in _side_by_side(left_value, right_value)
    ]
    table(["key", left, right], flat_rows)


def _side_by_side(left: Any, right: Any) -> Iterator[tuple[str, Any, Any]]:
    if not isinstance(left, dict) and not isinstance(right, dict):
        yield "", left, right
        return
    a, b = (dict(flat(side)) if isinstance(side, dict) else {} for side in (left, right))
    for key in dict.fromkeys([*a, *b]):
        yield key, a.get(key), b.get(key)


def flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of nested mappings."""
    for key, item in value.items():
        dotted = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(item, dict):
            yield from flat(item, dotted)
        else:
            yield dotted, item


def _plain(value: Any) -> str:
    if value is None:
        return "-"
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)
