"""Doing: the command line, and the rooms below it.

Downwards: notebook, cli, search, launch, plan and worker, scores, sampling, training and tracking, record; `validity`
stands beside them. May import analysis, components and registry. The experiment files (*.yaml) lie at the top.

From Python: `from experiments import Experiment, open_model` (docs/notebooks.md).
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from experiments.notebook.experiment import Experiment as Experiment
    from experiments.notebook.models import open_model as open_model


def __getattr__(name: str) -> Any:
    """Import what is asked for by name: every process imports this room, and most need neither of the two."""
    if name == "Experiment":
        from experiments.notebook.experiment import Experiment

        return Experiment
    if name == "open_model":
        from experiments.notebook.models import open_model

        return open_model
    raise AttributeError(f"module 'experiments' has no attribute {name!r}")
