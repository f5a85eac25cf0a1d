"""A plan -> what its experiment's folder keeps of it, for whoever reads the results."""

import time

from components.network_counts import count_network
from experiments.plan.plan import Plan
from experiments.plan.reading import directions_of, meanings_of
from registry.experiment.arm import Arm
from registry.experiment.evaluate_at import early_steps
from registry.experiment.file_head import head_of
from registry.runs.resolved_experiment import ResolvedArm, ResolvedExperiment, digest_of, plain_claims


def digest(plan: Plan) -> str:
    """Return the digest of the resolved experiment: of all its arms, whatever is selected, its seeds and its claims."""
    return digest_of({arm.name: arm.identity for arm in plan.arms}, plan.file.experiment.seeds, plan.claims)


def resolved(plan: Plan) -> ResolvedExperiment:
    """Return the resolved experiment of a plan with the parameters and MACs of its arms, as of now."""
    experiment = plan.file.experiment
    return ResolvedExperiment(
        experiment=plan.name,
        digest=digest(plan),
        file=str(plan.file.path),
        about=experiment.about,
        head=head_of(plan.file.path),
        overrides=plan.overrides,
        arms={arm.name: _arm(plan, arm) for arm in plan.arms},
        seeds=experiment.all_seeds,
        until_decided=experiment.until_decided,
        directions=directions_of(plan),
        meanings=tuple(meanings_of(plan)),
        claims=plain_claims(plan.claims),
        time=time.time(),
    )


def _arm(plan: Plan, arm: Arm) -> ResolvedArm:
    counts = count_network(arm.spec)
    return ResolvedArm(
        identity=arm.identity,
        axes=dict(arm.axes),
        steps=(*early_steps(plan.file.experiment, arm.spec), arm.spec.step),
        parameters=counts.parameters,
        macs={name: value for name, value in counts._asdict().items() if name != "parameters"},
        tuned=plan.chosen.get(arm.name),
    )
