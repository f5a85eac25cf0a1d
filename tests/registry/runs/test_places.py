"""Where replicates lie among the runs of their experiment, and back."""

from pathlib import Path

import pytest

from registry.runs.places import experiment_of, link_of


@pytest.mark.parametrize("step", [None, 250])
def test_a_place_names_its_experiment(step: int | None) -> None:
    assert experiment_of(link_of(Path("runs/toy"), "blocks=variant_2", "0123456789", 3, step)) == Path("runs/toy")
