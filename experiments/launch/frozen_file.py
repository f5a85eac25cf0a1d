"""An experiment as it is now, for jobs that begin later: it, and what it starts from, may be edited meanwhile."""

import hashlib
from pathlib import Path
from typing import Any

from experiments.plan.plan import Plan
from registry import strict_yaml
from registry.experiment.experiment_file import AXES, ExperimentFile, load_experiment
from registry.experiment.written import labelled
from registry.paths import expanded
from registry.runs.files import write_atomically


def frozen_words(plan: Plan, folder: Path) -> list[str]:
    """Return the words for a verb on the experiment as it is now, which is written to a folder.

    Args:
        plan: of the experiment, its overrides worked in; relative paths of data become absolute.
        folder: of the launch.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = _frozen(plan.whole or plan.file, folder, f"{plan.name}.yaml")
    return [str(path), "--runs", str(plan.runs.resolve()), *([f"--{plan.stage}"] if plan.stage else [])]


def _frozen(file: ExperimentFile, folder: Path, name: str) -> Path:
    """Write an experiment to a folder, and beside it those that its arms start from; where it is now."""
    experiment = _with_frozen_starts(file.experiment.model_dump(mode="json", exclude_none=True), folder)
    data = experiment["base"].get("data")
    if isinstance(data, dict) and isinstance(data.get("path"), str):
        experiment["base"]["data"] = {**data, "path": str(expanded(data["path"]).resolve())}
    for section in AXES:
        axes = getattr(file.experiment, section)
        experiment[section] = {
            key: list(map(_entry, axes[key], entries)) for key, entries in experiment[section].items()
        }
    path = folder / name
    write_atomically(path, strict_yaml.dump(experiment))
    return path


def _with_frozen_starts(value: Any, folder: Path) -> Any:
    """Plain values of an experiment with the files of the parts that start from others in place of the originals."""
    if isinstance(value, list):
        return [_with_frozen_starts(item, folder) for item in value]
    if not isinstance(value, dict):
        return value
    changed = {key: _with_frozen_starts(item, folder) for key, item in value.items()}
    if isinstance(value.get("name"), str) and isinstance(start := value.get("experiment"), str) and start:
        mark = hashlib.sha256(start.encode()).hexdigest()[:8]
        changed["experiment"] = str(_frozen(load_experiment(Path(start)), folder, f"start-{mark}.yaml"))
    return changed


def _entry(entry: Any, plain: Any) -> Any:
    """An axis's entry as plain values, with its label where these would have another: a path that was relative, say."""
    label = labelled(entry)[1]
    return plain if labelled(plain)[1] == label else {"value": plain, "label": label}
