"""What `check` says of an experiment file before anything is computed."""

from pathlib import Path

from tests.cli.command import run
from tests.fixtures.toy_replicates import write


def test_mirroring_is_refused_where_it_makes_clips_of_no_class(tmp_path: Path) -> None:
    file = write(tmp_path)
    told = run("check", file, "data.flip=0.5")
    assert (told.code, told.out) == (2, "")
    assert told.err.startswith("command line: data.flip: a mirrored clip of moves_left is one of moves_right")
    assert told.err.count("\n") == 1
    assert run("check", file, "data.flip=0.5", "data.dataset.classes=4", "model.classes=4").code == 0


def test_averaged_weights_that_are_still_the_initial_ones_are_warned_of(tmp_path: Path) -> None:
    """0.9999 over 20 steps scored every architecture alike: by its initial weights."""
    file = write(tmp_path)
    words = ("learning.ema_decay=0.9999", "learning.steps=20")
    line = (
        "command line: warning: learning.ema_decay: 0.9999 over 20 steps leaves 99.8% of the initial weights in the "
        "averaged ones, which are sampled and scored; 0.89 leaves 10%\n"
    )
    told = run("check", file, *words)
    assert told.code == 0
    assert line in told.out
    assert line in run("plan", file, *words).out
    as_json = run("plan", file, *words, "--format", "json")
    assert (as_json.err, len(as_json.json["arms"])) == (line, 2)
    assert line in run("launch", file, *words, "--dry-run", "--runs", tmp_path / "runs").out
    assert "warning:" not in run("check", file, "learning.ema_decay=0.89", "learning.steps=20").out


def test_a_warning_names_the_arms_that_it_is_about(tmp_path: Path) -> None:
    file = write(tmp_path)
    words = ("ablate={learning.steps: [6, 2]}", "claim=[]", "learning.ema_decay=0.6", "sampling.weights=model")
    assert [line for line in run("check", file, *words).out.splitlines() if "warning: " in line] == [
        "command line: warning: arm learning.steps=2: learning.ema_decay: 0.6 over 2 steps leaves 36.0% of the initial "
        "weights in the averaged ones, which the validation loss is of; 0.31 leaves 10%"
    ]


def test_noise_is_not_asked_for_where_it_tells_nothing_of_the_data(tmp_path: Path) -> None:
    file = write(tmp_path)
    words = ("diffusion={objective: epsilon_learned_sigma, noise_schedule: cosine}",)
    told = run("check", file, *words, "sampling.sampler={name: ddim, steps: 1000}")
    assert (told.code, told.err.count("\n")) == (2, 1)
    assert "a noise estimate tells the data at 996 of this process's 1000 timesteps" in told.err
    assert run("check", file, *words, "sampling.sampler={name: ddim, steps: 996}").code == 0


def test_the_bottleneck_of_tubelets_is_a_control_with_a_name(tmp_path: Path) -> None:
    file = write(tmp_path)
    axis = "ablate={model.patch_embedding: [compression_frame, {name: compression_frame, channel_multiplier: 1}]}"
    arms = run("plan", file, axis, "claim=[]", "--format", "json").json["arms"]
    parameters = {arm["arm"]: arm["parameters"] for arm in arms}
    full, narrow = (parameters[f"patch_embedding=compression_frame{which}"] for which in ("", "(channel_multiplier=1)"))
    # Of 48 channels twice as many go into the transposed convolution, which makes two frames of each: 2 x 2 patches.
    assert full - narrow == 48 * 2**2 * (16 + 1) + 48 * 48 * 2
