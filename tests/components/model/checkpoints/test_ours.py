"""Trainings of a runs folder as checkpoints: by whatever names them, with the numbers that evaluations sample."""

from pathlib import Path

import pytest
import torch

from components.model.checkpoints import Assumed, export, inspect, open_network
from experiments.sampling.trainings import trained_network
from registry.errors import RunError, SpecError
from registry.runs.replicate import Replicate
from tests.fixtures.checkpoint_files import file_of_ours
from tests.fixtures.toy_networks import inputs
from tests.fixtures.toy_replicates import assert_same, finish, made


@pytest.fixture(scope="module")
def replicate(tmp_path_factory: pytest.TempPathFactory) -> Replicate:
    """A replicate that is done, of arms with the reference's parts."""
    return made(tmp_path_factory.mktemp("runs"), "runtime.keep_checkpoints=9", "diffusion.objective=v_prediction")[0]


@pytest.fixture(scope="module")
def done(replicate: Replicate) -> Replicate:
    finish(replicate)
    return replicate


def test_a_training_opens_by_whatever_names_it(done: Replicate) -> None:
    expected = trained_network(done.spec, done.training, done.seed, torch.device("cpu"))
    newest = done.checkpoints()[-1]
    for path in (done.link, done.folder, done.training, newest):
        network, description = open_network(path)
        assert_same(dict(network.state_dict()), dict(expected.state_dict()))
        assert (description.layout, description.step, description.heads_by) == ("ours", 6, "its spec")
        assert (description.frames, description.channels, description.classes) == (4, 48, 2)
        assert not description.learned_sigma
        assert not network.training
        latents, t, labels, _ = inputs(network)
        with torch.no_grad():
            assert torch.equal(network(latents, t, labels=labels), expected(latents, t, labels))
    assert open_network(done.checkpoints()[0])[1].step == 2
    raw, description = open_network(done.training, weights="model")
    assert description.weights == "model"
    assert not torch.equal(raw.patch_embedding.proj.weight, expected.patch_embedding.proj.weight)


def test_a_training_goes_out_and_comes_back(done: Replicate, tmp_path: Path) -> None:
    expected = trained_network(done.spec, done.training, done.seed, torch.device("cpu")).state_dict()
    export(inspect(done.training), "latte", tmp_path / "official.pt")
    content = torch.load(tmp_path / "official.pt", weights_only=True)
    assert list(content) == ["model", "ema"]  # what official sampling and training look for
    assert {"pos_embed", "temp_embed"} <= set(content["ema"])
    network, description = open_network(tmp_path / "official.pt", Assumed(heads=2))
    assert description.layout == "latte"
    assert_same(dict(network.state_dict()), dict(expected))
    export(inspect(done.training), "ours", tmp_path / "ours.safetensors")
    network, description = open_network(tmp_path / "ours.safetensors")
    assert_same(dict(network.state_dict()), dict(expected))
    assert (description.step, description.kinds) == (6, ("ema", "model"))
    assert description.spec is not None
    assert description.spec["diffusion"]["objective"]["name"] == "v_prediction"  # how it was trained goes along


def test_a_damaged_checkpoint_is_not_opened(done: Replicate, tmp_path: Path) -> None:
    path = done.checkpoints()[0]
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    try:
        with pytest.raises(RunError, match="does not match its checksum"):
            open_network(path)
    finally:
        path.write_bytes(whole)
    alone = tmp_path / path.name
    alone.write_bytes(whole)
    with pytest.raises(RunError, match="neither a spec in its header nor the folder of its training around it"):
        inspect(alone)


def test_a_training_without_checkpoints_says_so(tmp_path: Path) -> None:
    replicate = made(tmp_path)[0]
    with pytest.raises(RunError, match="has no checkpoint of step 6"):
        inspect(replicate.folder)
    with pytest.raises(RunError, match="has no checkpoint yet"):
        inspect(replicate.training)
    with pytest.raises(SpecError, match=r"is a folder of no layout: did you mean .*seed-0"):
        inspect(tmp_path / "runs" / "toy")


def test_a_header_does_not_say_which_modules_are_imported(tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    path = file_of_ours(tmp_path / "ours.safetensors")
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    save_file(
        tensors,
        path,
        {
            **metadata,
            "latte_workbench": metadata["latte_workbench"].replace('"plugins": []', '"plugins": ["antigravity"]'),
        },
    )
    with pytest.raises(SpecError, match=r"--plugin: .* has parts of antigravity: name it if you trust it"):
        inspect(path)
    for damage in ("{", '{"version": 9}', '{"version": 1, "plugins": []}', "[" * 100_000):
        save_file(tensors, path, {**metadata, "latte_workbench": damage})
        with pytest.raises(RunError, match=r"its header is damaged|is of version 9"):
            inspect(path)
