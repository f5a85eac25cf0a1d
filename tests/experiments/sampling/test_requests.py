"""What can be asked of a trained network: other lengths, other sides, classes, and what is refused with the reason."""

from pathlib import Path

import pytest

from experiments.sampling.requests import Ask, Wanted, wanted
from experiments.sampling.sources import TrainedHere
from registry.errors import SpecError
from registry.experiment.arms import resolve_experiment
from registry.experiment.experiment_file import load_experiment
from tests.fixtures.toy_replicates import write


def source(folder: Path, *overrides: str, classes: tuple[str, ...] = ()) -> TrainedHere:
    """The toy's baseline as if it were trained."""
    spec = resolve_experiment(load_experiment(write(folder), ["ablate={}", "claim=[]", *overrides]))[0][0].spec
    return TrainedHere(folder, "toy", spec, 0, 6, classes, folder)


def refused(one: TrainedHere, ask: Ask) -> list[str]:
    with pytest.raises(SpecError) as found:
        wanted(one, ask)
    return found.value.problems


def shape(found: Wanted) -> tuple[int, int]:
    return found.spec.data.frames, found.spec.data.resolution


@pytest.mark.parametrize("position", ["rotary", "none"])
def test_networks_without_a_table_of_frames_draw_other_lengths(tmp_path: Path, position: str) -> None:
    found = wanted(source(tmp_path, f"model.temporal_position={position}"), Ask(frames=9))
    assert shape(found) == (9, 16)
    assert found.notes == ("9 frames from a network that was trained with 4",)


@pytest.mark.parametrize(
    ("position", "why"), [("absolute", "a row for each trained frame"), ("learned", "learned table")]
)
def test_networks_with_a_table_of_frames_do_not(tmp_path: Path, position: str, why: str) -> None:
    (line,) = refused(source(tmp_path, f"model.temporal_position={position}"), Ask(frames=9))
    assert line.startswith(f"--frames: this network draws 4 frames and no other number: temporal_position {position}: ")
    assert why in line
    assert line.endswith("networks with rotary or none draw any number")


def test_frames_that_the_patches_do_not_divide_are_refused(tmp_path: Path) -> None:
    one = source(tmp_path, "model.temporal_position=rotary", "model.patch_embedding=compression_frame")
    assert shape(wanted(one, Ask(frames=6))) == (6, 16)
    (line,) = refused(one, Ask(frames=5))
    assert line.endswith("tubelets of 2 frames do not divide a clip of 5")


def test_another_side_is_drawn_where_patches_divide_it(tmp_path: Path) -> None:
    one = source(tmp_path)
    found = wanted(one, Ask(resolution=32))
    assert found.notes == (
        "32 pixels from a network that was trained with 16: 4x4 patches in place of 2x2; the table of positions is "
        "computed for the new grid, and not interpolated",
    )
    (line,) = refused(one, Ask(resolution=20))
    assert line == "--resolution: model.patch: patches of 2 do not divide a latent of 5x5"


def test_another_autoencoder_gives_the_side_that_its_latents_need(tmp_path: Path) -> None:
    one = source(tmp_path)
    assert shape(wanted(one, Ask(overrides=("data.autoencoder={name: pixels, factor: 4}",)))) == (4, 16)
    (line,) = refused(one, Ask(overrides=("data.autoencoder={name: pixels, factor: 2}",)))
    assert line.startswith("data.autoencoder: pixels has no latents of 48x4x4, which this network draws")


def test_settings_are_all_that_was_asked(tmp_path: Path) -> None:
    ask = Ask(num=3, classes="1", guidance=2.5, sampler="ddpm", steps="ddim4", seed=7, weights="raw", precision="bf16",
              batch=2, overrides=("sampling.sampler.clip_denoised=true", "runtime.threads=1"))  # fmt: skip
    found = wanted(source(tmp_path), ask)
    sampling, runtime = found.spec.sampling, found.spec.runtime
    assert sampling.sampler is not None
    assert sampling.sampler.model_dump() == {"name": "ddpm", "steps": "ddim4", "clip_denoised": True}
    assert (sampling.clips, sampling.guidance, sampling.seed, sampling.weights) == (3, 2.5, 7, "model")
    assert (found.labels, found.precision, runtime.sampling_batch, runtime.threads) == ((1,), "bf16", 2, 1)


def test_a_sampler_may_be_written_in_one_word_and_options_about_it_count(tmp_path: Path) -> None:
    one = source(tmp_path)
    for written, steps in (("ddpm(steps=5)", 5), ("ddpm", 3)):
        found = wanted(one, Ask(steps=None if steps == 5 else "3", overrides=(f"sampling.sampler={written}",)))
        assert found.spec.sampling.sampler is not None
        assert (found.spec.sampling.sampler.name, found.spec.sampling.sampler.parameters["steps"]) == ("ddpm", steps)


@pytest.mark.parametrize("written", ["data.autoencoder=5", "data.autoencoder=null"])
def test_an_autoencoder_without_a_name_is_asked_for_one(tmp_path: Path, written: str) -> None:
    assert "data.autoencoder: name it, such as pixels" in refused(source(tmp_path), Ask(overrides=(written,)))[0]


def test_numbers_and_sections_that_are_none_are_told(tmp_path: Path) -> None:
    one = source(tmp_path)
    assert refused(one, Ask(overrides=("sampling=5",)))[0].startswith(
        "command line: sampling: is a section: name a key"
    )
    assert refused(one, Ask(classes="9" * 5000))[0].startswith("--classes: no class")
    assert "write a count (250)" in refused(one, Ask(steps="9" * 5000))[0]


def test_clips_of_another_arithmetic_are_other_clips(tmp_path: Path) -> None:
    one = source(tmp_path)
    found = wanted(one, Ask(overrides=("runtime.tf32=false",)))
    assert found.spec.runtime.tf32 != wanted(one, Ask()).spec.runtime.tf32


def test_steps_alone_keep_the_rest_of_the_runs_sampler(tmp_path: Path) -> None:
    found = wanted(source(tmp_path, "sampling.sampler={name: ddim, steps: 2, eta: 0.5}"), Ask(steps="4"))
    assert found.spec.sampling.sampler is not None
    assert found.spec.sampling.sampler.model_dump()["eta"] == 0.5
    assert found.spec.sampling.sampler.model_dump()["steps"] == 4


def test_classes_and_guidance_need_a_network_with_classes(tmp_path: Path) -> None:
    one = source(tmp_path, "model.classes=0")
    assert wanted(one, Ask()).labels == ()
    assert refused(one, Ask(classes="walk")) == [
        "--classes: this network was trained without classes (model.classes: 0); leave it out"
    ]
    (line,) = refused(one, Ask(guidance=7.0))
    assert line == "--guidance: guidance needs a class-conditional model; model.classes is 0"
    (line,) = refused(source(tmp_path, "learning.label_drop=0"), Ask(guidance=7.0))
    assert line.startswith("--guidance: guidance needs a null label")


def test_classes_without_known_names_are_numbers(tmp_path: Path) -> None:
    one = source(tmp_path)
    assert wanted(one, Ask(classes="1, 0,1")).labels == (1, 0, 1)
    (line,) = refused(one, Ask(classes="walk"))
    assert line == "--classes: no class 'walk': they are numbered 0 to 1; the names of its classes are not known here"
