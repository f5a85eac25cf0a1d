"""Between an experiment's tuning and the experiment: what was found best for each arm is written down, once."""

from experiments.plan.plan import Plan
from experiments.plan.tuning import by_arm, choice, key_of, with_chosen
from registry.runs.tunings import SUFFIX, read_tuned, write_tuned


def settled(plan: Plan) -> Plan:
    """Return the plan with its arms' values, which are chosen and written down where that is still to be done.

    Args:
        plan: whose tuning, if it has one, has ended.

    Raises:
        RunError: short trainings are not done, or no candidate of an arm is of use; nothing is chosen then.
    """
    if not plan.untuned:
        return plan
    folder = plan.runs / f"{plan.name}{SUFFIX}"
    keys = {arm: key_of(plan, candidates) for arm, candidates in by_arm(plan).items()}
    missing = {arm: own for arm, own in by_arm(plan).items() if read_tuned(folder, keys[arm]) is None}
    for arm, found in [(arm, choice(plan, own)) for arm, own in missing.items()]:
        write_tuned(folder, keys[arm], found)
    return with_chosen(plan)
