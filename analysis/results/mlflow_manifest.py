"""What a run in MLflow says of the files that it was sent: name -> state, in as many tags as MLflow's limit asks for.

MLflow cuts the value of a tag at 8,000 characters without a word, and promises 5,000 in every store. So the first part
is the tag `ARTIFACTS_TAG`, the next have its name with `.1`, `.2` and so on behind it; each is an object of its own.
"""

import json
from collections.abc import Iterator, Mapping

from analysis.results.mlflow_names import ARTIFACTS_TAG

LONGEST = 4900  # characters of a tag
NOTHING = "{}"  # the value of a part that is no longer needed


def read_manifest(tags: Mapping[str, str]) -> dict[str, str]:
    """Return name -> state of the files that a run was sent, by its tags; a part that was cut says nothing."""
    found: dict[str, str] = {}
    for tag in _parts(tags):
        try:
            part = json.loads(tags[tag] or NOTHING)
        except ValueError:
            continue
        found |= part if isinstance(part, dict) else {}
    return found


def manifest_tags(manifest: Mapping[str, str], tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags that a run must be given so that it says what a manifest does.

    Args:
        manifest: name -> state of the files.
        tags: that the run has.
    """
    values = list(_values(manifest))
    wanted = {_name(number): value for number, value in enumerate(values)}
    wanted |= {tag: NOTHING for tag in _parts(tags) if tag not in wanted}
    return {tag: value for tag, value in wanted.items() if tags.get(tag) != value}


def _parts(tags: Mapping[str, str]) -> list[str]:
    """The names of the tags that are parts of a manifest."""
    numbers = (tag.removeprefix(f"{ARTIFACTS_TAG}.") for tag in tags)
    later = sorted(int(number) for number in numbers if number.isdecimal())
    return [tag for tag in (ARTIFACTS_TAG, *map(_name, later)) if tag in tags]


def _name(number: int) -> str:
    return f"{ARTIFACTS_TAG}.{number}" if number else ARTIFACTS_TAG


def _values(manifest: Mapping[str, str]) -> Iterator[str]:
    """The manifest in parts, each as long as a tag may be."""
    part: dict[str, str] = {}
    for name, state in manifest.items():
        if part and len(json.dumps({**part, name: state})) > LONGEST:
            yield json.dumps(part)
            part = {}
        part[name] = state
    yield json.dumps(part)
