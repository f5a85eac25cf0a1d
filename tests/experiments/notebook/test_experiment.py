"""`from experiments import Experiment, open_model`: the schema of the files from Python, and the network of a run."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments import Experiment, open_model
from experiments.plan.loading import load_plan
from registry import strict_yaml
from registry.errors import RunError, SpecError
from registry.runs.machine import ROOT
from tests.fixtures.toy_replicates import TOY


@pytest.fixture
def sections(tmp_path: Path) -> dict[str, object]:
    (tmp_path / "toy.yaml").write_text(TOY, encoding="utf-8")
    raw = strict_yaml.load(tmp_path / "toy.yaml").value
    (tmp_path / "toy.yaml").unlink()
    return {"base": raw["base"], "floors": []}


def test_a_grid_from_a_loop_is_planned_and_written(tmp_path: Path, sections: dict[str, object]) -> None:
    file = tmp_path / "rates.yaml"
    rates = np.geomspace(1e-4, 1e-2, 3)
    grid = {"learning.learning_rate": rates, "model.depth": range(2, 5, 2)}
    made = Experiment("rates", file=file, **sections, grid=grid, seeds=range(2))
    plan = made.plan(runs=tmp_path / "runs")
    assert len(plan) == 6
    assert plan["seeds"].tolist() == [[0, 1]] * 6
    assert set(plan["depth"]) == {2, 4}
    assert (plan["state"] == "missing").all()
    assert (plan["macs"] > 0).all()
    written = strict_yaml.load(file).value
    assert written["grid"]["learning.learning_rate"] == tuple(rates.tolist())
    assert not (tmp_path / "runs").exists()


def test_it_is_the_experiment_of_its_file(tmp_path: Path, sections: dict[str, object]) -> None:
    """The command line takes the file, and finds the same arms."""
    file = tmp_path / "blocks.yaml"
    made = Experiment("blocks", file=file, **sections, ablate={"model.blocks": ("variant_1", "variant_2")})
    command = [sys.executable, "run.py", "check", str(file)]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for identity in made.plan(runs=tmp_path / "runs")["identity"]:
        assert identity in told


def test_launched_it_gives_its_results_and_its_networks(tmp_path: Path, sections: dict[str, object]) -> None:
    made = Experiment("launched", file=tmp_path / "launched.yaml", **sections)
    with pytest.raises(RunError, match="holds no runs of 'launched'"):
        made.results(runs=tmp_path / "runs")
    found = made.launch("learning.steps=2", executor="debug", runs=tmp_path / "runs")
    assert found.overrides == ("learning.steps=2",)
    assert found.runs["fvd[moving_shapes_r3d]"].notna().all()
    (replicate,) = found.replicates
    by_replicate, by_folder, raw = open_model(replicate), open_model(replicate.link), open_model(replicate, "model")
    latents, times, labels = torch.ones(1, 4, 48, 4, 4), torch.tensor([5]), torch.tensor([1])
    with torch.no_grad():
        outputs = [network(latents, times, labels=labels) for network in (by_replicate, by_folder, raw)]
    assert torch.equal(outputs[0], outputs[1])
    weights = [dict(network.named_parameters()) for network in (by_replicate, raw)]
    assert any(not torch.equal(weights[0][name], weights[1][name]) for name in weights[0])  # averaged ones lag behind


def test_written_again_it_replaces_its_own_file_and_no_other(tmp_path: Path, sections: dict[str, object]) -> None:
    file = tmp_path / "own.yaml"
    Experiment("own", file=file, **sections, seeds=[0])
    Experiment("own", file=file, **sections, seeds=[0, 1])
    assert strict_yaml.load(file).value["seeds"] == (0, 1)
    file.write_text(TOY, encoding="utf-8")
    with pytest.raises(SpecError, match="was not written from Python"):
        Experiment("own", file=file, **sections)
    assert file.read_text(encoding="utf-8") == TOY


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"grid": {"model.depht": [1, 2]}}, "did you mean 'depth'"),
        ({"ablat": {"model.depth": [1, 2]}}, "did you mean 'ablate'"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(
    tmp_path: Path, sections: dict[str, object], more: dict[str, object], message: str
) -> None:
    made = Experiment("wrong", file=tmp_path / "wrong.yaml", **sections, **more)
    with pytest.raises(SpecError, match=rf"wrong\.yaml:\d+: .*{message}"):
        made.plan(runs=tmp_path / "runs")


def test_what_no_file_can_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"base\.model\.width: expected numbers, texts, .* got object"):
        Experiment("odd", file=tmp_path / "odd.yaml", base={"model": {"width": object()}})


PLUGIN = """
import torch

from components.model.temporal_positions import TemporalPosition
from registry.parts.catalogue import part
from registry.schema.parameter_types import PositiveFloat


@part("temporal_position", "edited_ramp")
class EditedRamp(TemporalPosition):
    '''A straight line over the frames.

    Source: none
    Official code: no
    '''

    def __init__(self, frames, width, *, slope: PositiveFloat = 0.5) -> None:
        super().__init__()
        self.register_buffer("table", slope * torch.arange(frames)[None, :, None].expand(1, frames, width).float())

    def add(self, tokens):
        return tokens + self.table[:, :, None]
"""


def test_a_plugin_that_is_edited_between_two_cells_is_read_again_or_refused(
    tmp_path: Path, sections: dict[str, object]
) -> None:
    (plugin := tmp_path / "notebook_edited_ramp.py").write_text(PLUGIN)
    changes = {"set": {"model.temporal_position": "edited_ramp"}, "plugins": ["notebook_edited_ramp"]}
    made = Experiment("ramp", file=tmp_path / "ramp.yaml", **sections, **changes)
    slopes = [load_plan(made.file).arms[0].spec.model.temporal_position.slope]
    plugin.write_text(PLUGIN.replace("0.5", "0.25"))
    assert load_plan(made.file).arms[0].spec.model.temporal_position.slope == 0.5, "a command keeps what it began with"
    before = made.plan(runs=tmp_path / "runs")["identity"][0]  # imports it
    slopes.append(load_plan(made.file).arms[0].spec.model.temporal_position.slope)
    assert slopes == [0.5, 0.25]
    plugin.touch()
    assert made.plan(runs=tmp_path / "runs")["identity"][0] == before
    plugin.write_text(PLUGIN.replace("0.5", "0.125"))
    with pytest.raises(SpecError, match="notebook_edited_ramp was edited after this Python process imported it"):
        made.plan(runs=tmp_path / "runs")
    with pytest.raises(SpecError, match="restart the kernel"):
        made.plan(runs=tmp_path / "runs")
    others = Experiment("others", file=tmp_path / "others.yaml", **sections)
    assert len(others.plan(runs=tmp_path / "runs")) == 1, "another experiment has nothing to do with it"
    plugin.write_text(PLUGIN.replace("0.5", "0.25"))
    assert made.plan(runs=tmp_path / "runs")["identity"][0] == before, "as it was imported"


def test_what_a_plugin_inherits_is_read_again_as_well(tmp_path: Path, sections: dict[str, object]) -> None:
    base, plugin = tmp_path / "notebook_ramp_base.py", tmp_path / "notebook_ramp_child.py"
    mark = '@part("temporal_position", "edited_ramp")\n'
    base.write_text(PLUGIN.replace(mark, ""))
    plugin.write_text(
        "from notebook_ramp_base import EditedRamp\nfrom registry.parts.catalogue import part\n\n\n"
        '@part("temporal_position", "inherited_ramp")\nclass Inherited(EditedRamp):\n'
        '    """A straight line over the frames.\n\n    Source: none\n    Official code: no\n    """\n'
    )
    changes = {"set": {"model.temporal_position": "inherited_ramp"}, "plugins": ["notebook_ramp_child"]}
    made = Experiment("inherited", file=tmp_path / "inherited.yaml", **sections, **changes)
    assert load_plan(made.file).arms[0].spec.model.temporal_position.slope == 0.5
    base.write_text(base.read_text().replace("0.5", "0.25"))
    made.plan(runs=tmp_path / "runs")
    assert load_plan(made.file).arms[0].spec.model.temporal_position.slope == 0.25
