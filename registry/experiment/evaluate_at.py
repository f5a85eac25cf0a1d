"""The steps at which trainings are evaluated on their way, so that a score against steps is a curve."""

from registry.experiment.experiment_file import Experiment
from registry.schema.spec import Spec


def early_steps(experiment: Experiment, spec: Spec) -> list[int]:
    """Return the steps of `evaluate_at` before the one that an arm is compared at, in ascending order.

    Args:
        experiment: says which steps.
        spec: of the arm; steps at or behind its own evaluation are left out.
    """
    wanted = experiment.evaluate_at
    if wanted is None:
        return []
    steps = wanted if isinstance(wanted, tuple) else range(wanted.every, spec.step, wanted.every)
    return sorted({step for step in steps if step < spec.step})
