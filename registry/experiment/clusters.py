"""The user's file of clusters: what holds for a cluster rather than for one experiment."""

import os
from pathlib import Path

from platformdirs import user_config_path

from registry import strict_yaml
from registry.errors import SpecError
from registry.experiment.resolve import model_problems
from registry.paths import expanded
from registry.schema.resources import Shape

CLUSTERS_VARIABLE = "LATTE_WORKBENCH_CLUSTERS"
ANY_CLUSTER = "default"  # name in the user's file of what holds on every cluster


def clusters_file() -> Path:
    """The user's file of clusters, whether it is there or not."""
    named = os.environ.get(CLUSTERS_VARIABLE)
    return expanded(named) if named else user_config_path("latte-workbench") / "clusters.yaml"


def cluster_defaults(name: str) -> Shape:
    """What the user's file says of a cluster: its `default` entry, and over it the one of the cluster's name.

    Raises:
        SpecError: the file is no mapping of cluster names to shapes; with its lines.
    """
    path = clusters_file()
    if not path.exists():
        return Shape()
    document = strict_yaml.load(path)
    entries = document.value or {}
    if not isinstance(entries, dict):
        raise SpecError(f"{path}:1: expected a mapping of cluster names to their resources")
    problems = list(document.problems)
    for cluster, values in entries.items():
        found = model_problems(Shape, values if isinstance(values, dict) else {"": values})
        problems += [
            f"{document.where.get((cluster, *key), path)}: {'.'.join((cluster, *key))}: {text}" for key, text in found
        ]
    if problems:
        raise SpecError(problems)
    shapes = {cluster: Shape.model_validate(values) for cluster, values in entries.items()}
    return shapes.get(ANY_CLUSTER, Shape()).below(shapes.get(name))
