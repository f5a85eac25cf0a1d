"""experiments/showcase.yaml: what it shows has as many classes as its networks, and nothing of it needs a download."""

from components.assembly import Assembly
from experiments.plan.plan import load_plan
from registry.runs.machine import ROOT


def test_each_arm_is_of_the_classes_that_its_set_has() -> None:
    plan = load_plan(ROOT / "experiments" / "showcase.yaml")
    shown = {}
    for arm in plan.arms:
        dataset = Assembly(arm.spec).dataset()
        shown[arm.name] = len({source.label for source in dataset.sources()})
        assert shown[arm.name] == arm.spec.model.classes
        assert not Assembly(arm.spec).autoencoder_class().__init__.__kwdefaults__.get("weights")
    assert shown == {"baseline": 2, "digits": 10}
