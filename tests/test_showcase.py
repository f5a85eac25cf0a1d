"""experiments/showcase.yaml: its networks have a class for each digit, and nothing of it needs a download."""

import pytest

from components.assembly import Assembly
from experiments.plan.loading import load_plan
from registry.runs.machine import ROOT


@pytest.mark.parametrize("name", ["showcase", "showcase_stills"])
def test_the_network_has_the_classes_of_its_set(name: str) -> None:
    (arm,) = load_plan(ROOT / "experiments" / f"{name}.yaml").arms
    labels = {source.label for source in Assembly(arm.spec).dataset().sources()}
    assert len(labels) == arm.spec.model.classes == 10
    assert not Assembly(arm.spec).autoencoder_class().__init__.__kwdefaults__.get("weights")
