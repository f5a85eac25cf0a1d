"""A resolved experiment as its folder keeps it: `reports/<digest>/experiment.json`, for whoever reads the results.

A launch writes it before anything runs, so that results are read back without resolving the experiment's file again:
the file may have been edited since, and an arm that was matched by depth needs torch to be resolved.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import Field, TypeAdapter, ValidationError

from registry.errors import RunError
from registry.experiment.claims import Direction, ResolvedClaim
from registry.runs.files import write_atomically
from registry.runs.given_seeds import read_given, seeds_by_identity
from registry.runs.records import Record, read_json
from registry.runs.tunings import TunedArm
from registry.schema.seeds import UntilDecided

FOLDER = "reports"  # in that of the experiment: a folder for each resolved experiment
LINK = "report"  # beside it: that of the file without overrides
FILE = "experiment.json"
DIGITS = 10  # of a digest, as many as an arm's identity has

_CLAIMS = TypeAdapter(list[ResolvedClaim])


class ResolvedArm(Record):
    """An arm of a resolved experiment.

    Args:
        identity: of its science.
        axes: axis -> the label of its value on it.
        steps: at which its trainings are evaluated, in ascending order; the last one is where arms are compared.
        parameters: of its network.
        macs: multiply-accumulates by convention, as `plan` counts them.
        tuned: what its tuning has chosen, where it was tuned.
    """

    identity: str
    axes: dict[str, str] = Field(default_factory=dict)
    steps: tuple[int, ...] = ()
    parameters: int | None = None
    macs: dict[str, int] = Field(default_factory=dict)
    tuned: TunedArm | None = None


class ResolvedExperiment(Record):
    """An experiment file, with the overrides of a command, as it was resolved.

    Args:
        experiment: its name.
        digest: of arms, seeds and claims: equal for equal experiments, wherever they were written.
        file: that it was read from.
        about: what the file says it is about.
        head: what the comments at the head of the file say, by label (`registry.experiment.file_head`).
        overrides: of the command line, `key.path=value`.
        arms: by name, the baseline first.
        seeds: of every arm; where they are added until claims are decided, all that there may be.
        until_decided: how they are added, None where they are listed.
        directions: score -> which way it is better.
        meanings: what numbers of its metrics say, a line each, where that is not to be seen.
        claims: all of them.
        time: when it was last launched, or first reported, in seconds since 1970.
    """

    experiment: str
    digest: str
    file: str = ""
    about: str = ""
    head: dict[str, str] = Field(default_factory=dict)
    overrides: tuple[str, ...] = ()
    arms: dict[str, ResolvedArm]
    seeds: tuple[int, ...]
    until_decided: UntilDecided | None = None
    directions: dict[str, Direction] = Field(default_factory=dict)
    meanings: tuple[str, ...] = ()
    claims: list[Any] = Field(default_factory=list)
    time: float = 0.0

    @property
    def tuned(self) -> dict[str, TunedArm]:
        """What was chosen for the arms that were tuned."""
        return {name: arm.tuned for name, arm in self.arms.items() if arm.tuned is not None}

    @property
    def resolved_claims(self) -> list[ResolvedClaim]:
        """The claims as `analysis.verdicts.judging.judge` takes them."""
        return _CLAIMS.validate_python(self.claims)

    @property
    def told_seeds(self) -> str:
        """`seeds 0, 1, 2`, or `3 to 12 seeds, until decided`."""
        if self.until_decided is not None:
            return f"{self.until_decided.first} to {self.until_decided.most} seeds, until decided"
        return f"seeds {', '.join(map(str, self.seeds))}"

    def seeds_by_arm(self, experiment: Path) -> dict[str, tuple[int, ...]]:
        """Return the seeds that are expected of each arm now.

        Args:
            experiment: the experiment's folder, which says what arms were given.
        """
        if self.until_decided is None:
            return dict.fromkeys(self.arms, self.seeds)
        identities = [arm.identity for arm in self.arms.values()]
        given = seeds_by_identity(self.until_decided, identities, read_given(experiment))
        return {name: given[arm.identity] for name, arm in self.arms.items()}


ADDED = ("matched", "together", "over", "since")  # to claims, since digests were first written


def digest_of(identities: dict[str, str], seeds: Sequence[int] | UntilDecided, claims: Sequence[ResolvedClaim]) -> str:
    """Hash arms, seeds and claims: equal for equal experiments, wherever they were written.

    Args:
        identities: arm -> identity.
        seeds: of every arm, or how they are added.
        claims: all of them.
    """
    plain = [{**asdict(claim), "margin": str(claim.margin)} for claim in claims]
    # What claims could not say before stands in the digest only where it is said, so that older folders keep theirs.
    plain = [{key: value for key, value in claim.items() if key not in ADDED or value} for claim in plain]
    design = seeds.model_dump(mode="json") if isinstance(seeds, UntilDecided) else list(seeds)
    about = {"arms": identities, "seeds": design, "claims": plain}
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:DIGITS]


def plain_claims(claims: Sequence[ResolvedClaim]) -> list[Any]:
    """Return claims as the JSON values that `ResolvedExperiment.claims` has; each says in words what it claims."""
    listed = _CLAIMS.dump_python(list(claims), mode="json")
    said = (f"{claim.axis}: {claim.statement} in {claim.metric}{claim.where}" for claim in claims)
    return [{"claim": text, **plain} for text, plain in zip(said, listed, strict=True)]


def place_of(experiment: Path, digest: str) -> Path:
    """Return the folder of a resolved experiment, which may not be there yet, in that of the experiment."""
    return experiment / FOLDER / digest


def write_resolved(experiment: Path, resolved: ResolvedExperiment) -> Path:
    """Write what an experiment was resolved to into its folder; return the file."""
    place = place_of(experiment, resolved.digest)
    place.mkdir(parents=True, exist_ok=True)
    text = json.dumps(resolved.model_dump(mode="json"), indent=1, ensure_ascii=False)
    write_atomically(place / FILE, text + "\n")
    return place / FILE


def keep_resolved(experiment: Path, resolved: ResolvedExperiment) -> Path:
    """Write what an experiment was resolved to unless a launch has; return the file.

    A launch knows the file and the overrides that it was given; the job that reports behind it reads a frozen file in
    which the overrides are worked in.
    """
    path = place_of(experiment, resolved.digest) / FILE
    return path if _readable(path) is not None else write_resolved(experiment, resolved)


def read_kept(path: Path, about: ResolvedExperiment) -> ResolvedExperiment:
    """Return what the file says that `keep_resolved` kept; what it does not say of the experiment's head, `about` does.

    Args:
        path: of the file.
        about: the same experiment, as it was resolved now.
    """
    kept = _readable(path) or about
    return kept if kept.head else kept.model_copy(update={"head": about.head})


def read_resolved(experiment: Path) -> list[ResolvedExperiment]:
    """Return what an experiment was resolved to, the newest launch first; a file that is damaged is left out.

    Args:
        experiment: the experiment's folder.
    """
    found = (_readable(path) for path in (experiment / FOLDER).glob(f"*/{FILE}"))
    return sorted((one for one in found if one is not None), key=lambda resolved: resolved.time, reverse=True)


def _readable(path: Path) -> ResolvedExperiment | None:
    try:
        resolved = ResolvedExperiment.model_validate(read_json(path) or {})
        _ = resolved.resolved_claims
    except ValidationError:
        return None
    return resolved


def newest_resolved(experiment: Path, overrides: Sequence[str] | None = None) -> ResolvedExperiment | None:
    """Return what an experiment was resolved to when it was last launched, None where it never was.

    Args:
        experiment: the experiment's folder.
        overrides: only with exactly these; None takes the newest, whatever its overrides.

    Raises:
        RunError: it was launched, but never with these overrides; the message names those that there are.
    """
    found = read_resolved(experiment)
    if overrides is None or not found:
        return found[0] if found else None
    for resolved in found:
        if sorted(resolved.overrides) == sorted(overrides):
            return resolved
    there = "; ".join(dict.fromkeys(" ".join(one.overrides) or "no overrides" for one in found))
    asked = " ".join(overrides) or "no overrides"
    raise RunError(f"{experiment}: was never launched with {asked}, but with {there}")
