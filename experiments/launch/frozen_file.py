"""An experiment as it is now, for jobs that begin later: its file may be edited meanwhile."""

from pathlib import Path
from typing import Any

from experiments.plan.plan import Plan
from registry import strict_yaml
from registry.experiment.experiment_file import AXES
from registry.experiment.written import labelled
from registry.runs.files import write_atomically


def frozen_words(plan: Plan, folder: Path) -> list[str]:
    """Return the words for a verb on the experiment as it is now, which is written to a folder.

    Args:
        plan: of the experiment, its overrides worked in; relative paths of data become absolute.
        folder: of the launch.
    """
    experiment = plan.file.experiment.model_dump(mode="json", exclude_none=True)
    data = experiment["base"].get("data")
    if isinstance(data, dict) and isinstance(data.get("path"), str):
        experiment["base"]["data"] = {**data, "path": str(Path(data["path"]).expanduser().resolve())}
    for section in AXES:
        axes = getattr(plan.file.experiment, section)
        experiment[section] = {
            key: list(map(_entry, axes[key], entries)) for key, entries in experiment[section].items()
        }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{plan.name}.yaml"
    write_atomically(path, strict_yaml.dump(experiment))
    return [str(path), "--runs", str(plan.runs.resolve())]


def _entry(entry: Any, plain: Any) -> Any:
    """An axis's entry as plain values, with its label where these would have another: a path that was relative, say."""
    label = labelled(entry)[1]
    return plain if labelled(plain)[1] == label else {"value": plain, "label": label}
