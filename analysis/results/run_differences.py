"""Two runs side by side: where their specs, protocols, code, environments and results differ."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry import strict_yaml
from registry.errors import RunError
from registry.paths import expanded
from registry.runs.code_used import made_by
from registry.runs.places import EVALUATIONS, TRAININGS
from registry.runs.records import read_json
from registry.runs.replicate import Replicate, is_replicate, open_replicate
from registry.schema.differences import differing

SECTIONS = ("spec", "protocol", "code", "environment", "result")


@dataclass(frozen=True)
class Difference:
    """One key of a section, and its value in either run; None where it is not there."""

    section: str
    key: str
    left: Any
    right: Any

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values, without the section."""
        return {"key": self.key, "left": self.left, "right": self.right}


def open_run(name: str, runs: Path) -> Replicate:
    """Return the run that a name means: its folder, or `<training>/seed-<n>/<evaluation>` as `table` prints it.

    Args:
        name: of the run.
        runs: the folder of all runs.

    Raises:
        RunError: there is no such run, or its spec was edited.
    """
    place = expanded(name)
    parts = place.parts
    if not place.exists() and len(parts) == 3:
        place = runs / TRAININGS / parts[0] / parts[1] / EVALUATIONS / parts[2]
    if not is_replicate(place):
        raise RunError(
            f"{name}: no run: name its folder (runs/<experiment>/<arm>/seed-<n>), or training/seed-<n>/evaluation as "
            f"`table --format md` prints it, of the runs in {runs} (--runs)"
        )
    return open_replicate(place)


def differences(left: Replicate, right: Replicate) -> Iterator[Difference]:
    """Yield what differs between two runs, section by section."""
    ours, theirs = about(left), about(right)
    for section in SECTIONS:
        for key, one, other in differing(ours[section], theirs[section]):
            yield Difference(section, key, one, other)


def about(replicate: Replicate) -> dict[str, Mapping[str, Any]]:
    """Return what the files of a run say, by section; what is not known yet is left out.

    `spec` is all of the stored spec, the efficiency half included, and the seed; `protocol` what each score was
    measured by; `code` the commit, and the digests of parts and loops; `environment` the machine and the versions of
    packages; `result` the state, the scores, and what they cost.
    """
    result = replicate.result()
    provenance = read_json(replicate.training / "provenance.json") or {}
    code = provenance.pop("code", None)
    made = made_by(replicate)
    recorded = result.model_dump(mode="json") if result else {}
    wanted = ("step", "parameters", "data_digest", "validation_split", "seconds", "seconds_of", "attempts", "scores")
    return {
        "spec": {**_stored(replicate), "seed": replicate.seed},
        "protocol": {
            metric: recorded.get("protocol_specs", {}).get(fingerprint, fingerprint)
            for metric, fingerprint in recorded.get("protocols", {}).items()
        },
        "code": {**(code if isinstance(code, dict) else {}), **made.model_dump(include={"training", "evaluation"})},
        "environment": {**provenance, **{key: recorded[key] for key in ("device", "processes") if key in recorded}},
        "result": {"state": str(replicate.state), **{key: recorded[key] for key in wanted if key in recorded}},
    }


def _stored(replicate: Replicate) -> dict[str, Any]:
    value = strict_yaml.load(replicate.folder / "spec.yaml").value
    return value if isinstance(value, dict) else {}
