"""Which code made a training, an evaluation, a replicate: what its files say, by part and loop.

Every attempt that works on a training or an evaluation adds a line to the folder's code.jsonl, with a digest of the
source of each part in use (`registry.parts.source_digest`) and of the loop. The digests are a record and no part of any
identity: edited code finds what is there, and says that other code made it.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from registry.runs.records import CodeUsed, MadeBy
from registry.runs.replicate import Replicate
from registry.runs.stored import read_lines

FILE = "code.jsonl"


def code_used(folder: Path) -> list[CodeUsed]:
    """Return what attempts noted in the folder of a training or of an evaluation, oldest first."""
    found = []
    for line in read_lines(folder / FILE):
        try:
            found.append(CodeUsed.model_validate(line))
        except ValueError:
            continue
    return found


def took_part(folder: Path, before: int | None = None) -> list[CodeUsed]:
    """Return the attempts whose work is in what is there now, oldest first.

    An attempt that went on from an earlier place than those before it has made their work anew.

    Args:
        folder: of a training or an evaluation.
        before: only those that had begun before this step; of step 0, those that made the initial weights.
    """
    found: list[CodeUsed] = []
    for used in code_used(folder):
        if used.until is not None and (before is None or before > used.until):
            continue  # it went back for an earlier step, and what is asked about stayed
        found = [*(earlier for earlier in found if earlier.begun_at < used.begun_at), used]
    return [used for used in found if before is None or used.begun_at < max(before, 1)]


def made_by(replicate: Replicate) -> MadeBy:
    """Return the code that made a replicate: as its result says, or, without one, all that has worked on it so far."""
    result = replicate.result()
    if result is not None:
        return result.made_by
    return worked_on(replicate.training, replicate.folder, replicate.spec.step)


def worked_on(training: Path, evaluation: Path, step: int) -> MadeBy:
    """Return the code that has made a training up to a step, and an evaluation of it, so far."""
    return MadeBy(training=versions(took_part(training, step)), evaluation=versions(took_part(evaluation)))


def versions(used: Iterable[CodeUsed]) -> dict[str, list[str]]:
    """Return the digests of each part and loop, each once and in the order in which they were used."""
    found: dict[str, list[str]] = {}
    for one in used:
        for name, digest in one.digests.items():
            if digest not in found.setdefault(name, []):
                found[name].append(digest)
    return found


def other_than(made: Mapping[str, Iterable[str]], present: Mapping[str, str]) -> list[str]:
    """Return the parts and loops of which any digest is another than at present; what is not in both is left out."""
    return [name for name, digests in made.items() if name in present and set(digests) != {present[name]}]
