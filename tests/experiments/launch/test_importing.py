"""Checkpoints from outside become trainings: with the weights of the file, its provenance, and lines that name them."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from components.model.checkpoints import export, inspect, open_network, to_official
from components.model.positions import spatial_table, temporal_table
from experiments.launch.importing import ImportedTraining, import_checkpoint
from experiments.plan.inventory import unreferenced
from experiments.plan.loading import load_plan
from registry.errors import RunError, SpecError
from registry.runs.records import State
from registry.runs.stored import training_state
from tests.components.model.checkpoints.test_opening import assert_bits
from tests.fixtures.checkpoint_files import HEADS, WRAPPINGS, dit_entries, file_of_ours, latte_entries, save, wrapped
from tests.fixtures.toy_replicates import TOY, finish, made, write


def imported(file: Path, folder: Path, *overrides: str) -> ImportedTraining:
    return import_checkpoint(inspect(file, HEADS).with_digest(), folder / "runs", overrides)


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_an_official_file_comes_back_bit_for_bit_from_the_training_it_became(tmp_path: Path, wrapping: str) -> None:
    ema, model = latte_entries(0), latte_entries(1)
    file = save(tmp_path / "0000020.pt", wrapped(ema, model, wrapping))
    made = imported(file, tmp_path)
    assert not made.there
    assert training_state(made.training, made.spec) is State.DONE
    assert (made.record.path, made.record.layout) == (str(file), "latte")
    assert made.record.digest == made.spec.learning.initialisation.model_dump()["sha256"]
    file.unlink()  # what was imported does not need it
    network, description = open_network(made.training)
    for name, value in to_official(network.state_dict()).items():
        assert torch.equal(value, ema[name]), name
    assert (description.layout, description.form.split(",")[0]) == ("ours", "imported")
    export(inspect(made.training), "latte", tmp_path / "out.pt")
    official = {"compiled": "plain", "Lightning": "plain", "Lightning state_dict": "plain"}.get(wrapping, wrapping)
    assert_bits(torch.load(tmp_path / "out.pt", weights_only=True), wrapped(ema, model, official))


def test_an_image_network_comes_back_bit_for_bit_too(tmp_path: Path) -> None:
    entries = {name: value.half() for name, value in dit_entries().items()}
    made = imported(save(tmp_path / "DiT.pt", entries), tmp_path)
    assert (made.spec.data.frames, made.spec.model.classes) == (1, 3)
    export(inspect(made.training), "dit", tmp_path / "out.pt")
    assert_bits(torch.load(tmp_path / "out.pt", weights_only=True), entries)


def test_the_lines_of_an_import_are_the_same_training_in_an_experiment(tmp_path: Path) -> None:
    made = imported(save(tmp_path / "file.pt", {"ema": latte_entries()}), tmp_path)
    said: dict[str, Any] = {"name": "uses_it", "base": made.lines, "seeds": [0]}
    (tmp_path / "uses_it.yaml").write_text(yaml.safe_dump(said))
    plan = load_plan(tmp_path / "uses_it.yaml", (), tmp_path / "runs")
    assert [replicate.training for replicate in plan.replicates] == [made.training]


def test_importing_twice_finds_it_there_and_another_file_is_another_training(tmp_path: Path) -> None:
    file = save(tmp_path / "file.pt", {"ema": latte_entries()})
    first, second = imported(file, tmp_path), imported(file, tmp_path)
    assert (second.there, second.training, second.record) == (True, first.training, first.record)
    other = imported(save(tmp_path / "other.pt", {"ema": latte_entries(1)}), tmp_path)
    assert other.training != first.training
    checkpoint = first.training / "checkpoints" / "step-00000000.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1])
    with pytest.raises(RunError, match=r"does not match its checksum|can be read"):
        open_network(first.training)
    assert not imported(file, tmp_path).there  # made again
    open_network(first.training)


def test_what_was_imported_is_not_pruned(tmp_path: Path) -> None:
    """It was not made here, and the file that it came from may be gone."""
    imported(save(tmp_path / "ffs.pt", {"ema": latte_entries()}), tmp_path)
    assert unreferenced(tmp_path / "runs") == []


def test_a_file_of_ours_brings_along_how_it_was_trained(tmp_path: Path) -> None:
    path = file_of_ours(tmp_path / "ours.safetensors", blocks={"name": "variant_3"}, temporal_position={"name": "none"})
    made = imported(path, tmp_path)
    assert (made.spec.model.blocks.name, made.spec.model.temporal_position.name) == ("variant_3", "none")
    assert open_network(made.training)[1].model == made.spec.model


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (
            ["diffusion.objective=v_prediction"],
            "diffusion.objective: v_prediction needs 4 channels of output, the network",
        ),
        (
            ["data.autoencoder=pixels(factor=2)"],
            "data.autoencoder: pixels has no latents of 4x4x4, which this network draws",
        ),
        (["data.frames=8"], "data: clips are 8x4x4x4 in the latent"),
        (["model.depth=4"], "model.depth: 4 was asked for, the network has 2"),
        (["model.dept=4"], "model.dept: unknown key; did you mean 'depth'?"),
        (["seeds=[1]"], "seeds: is a key of experiments"),
        (["data"], "an override is written key.path=value"),
    ],
)
def test_what_does_not_fit_is_told_by_key_and_nothing_is_made(tmp_path: Path, overrides: list[str], told: str) -> None:
    file = save(tmp_path / "file.pt", {"ema": latte_entries()})
    with pytest.raises(SpecError) as refused:
        imported(file, tmp_path, *overrides)
    assert any(told in problem for problem in refused.value.problems), refused.value.problems
    assert not (tmp_path / "runs").exists()


def test_an_experiment_evaluates_what_was_imported(tmp_path: Path) -> None:
    tables = {"pos_embed": spatial_table(16, 2, 2), "temp_embed": temporal_table(16, 4)}  # others are refused
    ema = {**latte_entries(0, channels=48, classes=2), **tables}
    file = save(tmp_path / "file.pt", {"model": latte_entries(1, channels=48, classes=2), "ema": ema})
    data = ("data.dataset={name: moving_shapes, videos: 16, length: 8}", "data.interval=1")
    training = imported(file, tmp_path, *data, "data.autoencoder={name: pixels, factor: 4}")
    said = yaml.safe_load(TOY)
    base = {**said["base"], **training.lines, "sampling": {"sampler": {"name": "ddim", "steps": 2}, "clips": 6}}
    del base["diffusion"]
    text = yaml.safe_dump({"name": "toy", "base": base, "seeds": [0], "floors": []})
    write(tmp_path, text)
    (replicate,) = made(tmp_path)
    assert replicate.training == training.training.resolve()
    result = finish(replicate)
    assert (result.step, result.steps) == (0, 0)
    for path in (replicate.folder, replicate.training):  # the checkpoint is of the data now, and still the file's
        network, _ = open_network(path)
        for name, value in to_official(dict(network.named_parameters())).items():
            assert torch.equal(value, ema[name]), name
