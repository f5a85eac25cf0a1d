"""The training loop: resumed runs, accumulation, precision, compilation, checkpoints."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch

from components.learning.initialisation import Checkpoint
from experiments.training import trainer
from experiments.training.checkpoints import read_checkpoint
from experiments.training.trainer import train
from registry.errors import Interrupted, RunError
from registry.runs.replicate import Replicate
from registry.runs.stored import read_lines
from tests.fixtures.made_videos import write_pictures
from tests.fixtures.toy_replicates import assert_same, made, never, nothing, resumed, trainer_of


def stop_after(calls: int) -> Callable[..., bool]:
    """Answers yes from the given call on."""
    seen = [0]

    def stop(step: int | None = None) -> bool:
        seen[0] += 1
        return seen[0] >= calls

    return stop


def test_a_training_goes_on_without_the_file_that_it_started_from(tmp_path: Path) -> None:
    before = made(tmp_path / "before", "seeds=[0]", "floors=[]")[0]
    first = resumed(before)
    train(first, never, nothing)
    (file,) = (before.training / "checkpoints").glob("step-*6.pt")
    start = tmp_path / "start.pt"
    shutil.copy(file, start)
    replicate = made(
        tmp_path, "seeds=[0]", "floors=[]", f"learning.initialisation={{name: checkpoint, path: {start}}}"
    )[0]
    with pytest.raises(Interrupted):
        train(resumed(replicate), stop_after(2), nothing)
    with mock.patch.object(Checkpoint, "__call__", side_effect=AssertionError("the start is not opened")):
        assert resumed(replicate).step == 2
    start.unlink()
    assert resumed(replicate).step == 2
    shutil.rmtree(replicate.training / "checkpoints")
    with pytest.raises(RunError, match=r"learning\.initialisation\.path: there is no file"):
        resumed(replicate)


def trained(folder: Path, *overrides: str, stops: tuple[int, ...] = ()) -> tuple[Replicate, Any, dict[str, float]]:
    """The replicate, its final state and validation losses, after training with interruptions."""
    replicate = made(folder, *overrides)[0]
    for calls in stops:
        with pytest.raises(Interrupted, match="the same command goes on"):
            train(resumed(replicate), stop_after(calls), nothing)
    trainer = resumed(replicate)
    final = train(trainer, never, nothing)
    return replicate, trainer.state(), final


def metrics(replicate: Replicate) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if key != "time"} for line in replicate.metrics()]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Replicate, Any, dict[str, float]]:
    return trained(tmp_path_factory.mktemp("undisturbed"))


@pytest.mark.parametrize("stops", [(3,), (1, 1, 1), (5,)])
def test_interrupted_and_resumed_equals_undisturbed(tmp_path: Path, undisturbed: Any, stops: tuple[int, ...]) -> None:
    replicate, state, final = trained(tmp_path, stops=stops)
    expected_replicate, expected_state, expected_final = undisturbed
    assert_same(state, expected_state)
    assert final == expected_final
    assert metrics(replicate) == metrics(expected_replicate)


def test_killed_between_checkpoints_and_resumed_equals_undisturbed(tmp_path: Path, undisturbed: Any) -> None:
    """A kill leaves what was on disk: an old checkpoint, newer metrics, and half a line."""
    replicate = made(tmp_path)[0]
    trainer = resumed(replicate)

    def die(step: int | None = None) -> bool:
        if trainer.step == 5:
            raise MemoryError  # step 5 is trained, checkpoint and log are of step 4
        return False

    with pytest.raises(MemoryError):
        train(trainer, die, nothing)
    with (replicate.training / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "time": 1.0, "loss": 9.0}\n{"step": 6, "lo')
    (replicate.training / "checkpoints" / ".step-00000006.pt.999.tmp").write_bytes(b"half")
    trainer = resumed(replicate)
    final = train(trainer, never, nothing)
    assert_same(trainer.state(), undisturbed[1])
    assert final == undisturbed[2]
    assert metrics(replicate) == metrics(undisturbed[0])
    left = sorted(path.name for path in (replicate.training / "checkpoints").iterdir())
    assert left == ["step-00000006.json", "step-00000006.pt"]


def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path, undisturbed: Any) -> None:
    replicate = made(tmp_path, "runtime.keep_checkpoints=9")[0]
    with pytest.raises(Interrupted):
        train(trainer_of(replicate), stop_after(4), nothing)
    newest = replicate.checkpoints()[-1]
    assert [path.name for path in replicate.checkpoints()] == ["step-00000002.pt", "step-00000004.pt"]
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
    with pytest.raises(RunError, match=r"step-00000004\.pt: does not match its checksum"):
        read_checkpoint(newest, trainer_of(replicate).origin)
    trainer = resumed(replicate)
    assert trainer.step == 2
    train(trainer, never, nothing)
    assert_same(trainer.state(), undisturbed[1])


def test_a_training_stays_on_its_kind_of_device(tmp_path: Path) -> None:
    """A GPU's generator has a state of 16 bytes, and its numbers cannot be drawn on a processor."""
    trainer = trainer_of(made(tmp_path)[0])
    state = trainer.state() | {"generator": torch.zeros(16, dtype=torch.uint8)}
    told = r"step 0 was made on another kind of device than cpu.*runtime\.device is cpu.*move that folder away"
    with pytest.raises(RunError, match=told):
        trainer.load_state(state)


def test_old_checkpoints_are_removed(tmp_path: Path) -> None:
    replicate, *_ = trained(tmp_path, "runtime.keep_checkpoints=2", "runtime.checkpoint_every=1")
    assert [path.name for path in replicate.checkpoints()] == ["step-00000005.pt", "step-00000006.pt"]
    left = sorted(path.name for path in (replicate.training / "checkpoints").iterdir())
    assert left == [f"step-0000000{step}.{kind}" for step in (5, 6) for kind in ("json", "pt")]  # with their checksums


def test_another_seed_is_another_run(tmp_path: Path, undisturbed: Any) -> None:
    replicate = made(tmp_path, "seeds=[1]")[0]
    trainer = trainer_of(replicate)
    train(trainer, never, nothing)
    weight = "patch_embedding.proj.weight"
    assert not torch.equal(trainer.state()["model"][weight], undisturbed[1]["model"][weight])


def close(state: Any, expected: Any, atol: float) -> None:
    for name, value in expected["model"].items():
        torch.testing.assert_close(state["model"][name], value, rtol=0, atol=atol, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("pieces", [2, 4])
def test_accumulation_changes_nothing_but_memory(tmp_path: Path, undisturbed: Any, pieces: int) -> None:
    replicate, state, final = trained(tmp_path, f"runtime.accumulation={pieces}")
    assert replicate.identity == undisturbed[0].identity
    # Sums are rounded in another order; AdamW turns noise in vanishing gradients into steps of up to 1e-3.
    for line, expected in zip(metrics(replicate), metrics(undisturbed[0]), strict=True):
        assert line == pytest.approx(expected, rel=1e-4)
    assert final == pytest.approx(undisturbed[2], rel=1e-4)
    close(state, undisturbed[1], atol=2e-4)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_checkpointed_blocks_train_bit_for_bit_alike(tmp_path: Path, precision: str) -> None:
    words = (f"runtime.precision={precision}", "runtime.accumulation=2")
    plain, saving = (trained(tmp_path / word, f"runtime.checkpointing={word}", *words) for word in ("false", "true"))
    assert saving[0].identity == plain[0].identity
    assert saving[1].keys() == plain[1].keys()
    assert_same(saving[1], plain[1])  # weights after steps of equal gradients, their average, the optimiser's moments
    assert saving[2] == plain[2]


def test_checkpointed_blocks_are_computed_twice(tmp_path: Path) -> None:
    calls = []
    trainer = trainer_of(made(tmp_path, "runtime.checkpointing=true")[0])
    for block in trainer.model.blocks:
        block.mlp.register_forward_hook(lambda *given: calls.append(1))
    trainer.train_step()
    assert len(calls) == 2 * len(trainer.model.blocks)


def test_bf16_stays_near_fp32(tmp_path: Path, undisturbed: Any) -> None:
    replicate, state, final = trained(tmp_path, "runtime.precision=bf16")
    assert replicate.identity == undisturbed[0].identity
    assert final == pytest.approx(undisturbed[2], rel=0.02)
    assert final != undisturbed[2]  # it did train in bf16
    assert all(value.dtype == torch.float32 for value in state["model"].values())  # over fp32 master weights
    close(state, undisturbed[1], atol=2 * 6 * 1e-3)  # at most the learning rate a step, in both directions


@pytest.mark.slow
def test_compiled_blocks_give_the_same_losses(tmp_path: Path) -> None:
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        pytest.skip("torch.compile needs a C++ compiler on the CPU, and there is none")
    compiled, plain = (trainer_of(made(tmp_path / name, f"runtime.compile={name}")[0]) for name in ("true", "false"))
    for _ in range(2):
        means, expected = compiled.train_step(), plain.train_step()
        for name, value in means.items():
            torch.testing.assert_close(value, expected[name], rtol=1e-3, atol=1e-4)
    assert compiled.state()["model"].keys() == plain.state()["model"].keys()  # no wrapper in the names


def test_a_loss_that_is_not_finite_fails_with_advice(tmp_path: Path) -> None:
    replicate = made(tmp_path)[0]
    trainer = trainer_of(replicate)
    with torch.no_grad():
        trainer.model.patch_embedding.head.weight.fill_(float("nan"))
    with pytest.raises(RunError, match=r"not finite at step 2.*learning\.learning_rate"):
        train(trainer, never, nothing)


@pytest.mark.parametrize(("every", "asked"), [(2, None), (3, 5)], ids=["checkpoint", "stop"])
def test_a_loss_that_is_not_finite_takes_no_good_checkpoints_place(
    tmp_path: Path, every: int, asked: int | None
) -> None:
    """Two steps behind the checkpoint, where the next one is due or somebody asks to stop; nothing is logged before."""
    replicate = made(tmp_path, "runtime.log_every=6", f"runtime.checkpoint_every={every}")[0]
    trainer = trainer_of(replicate)

    def spoil(step: int) -> bool:
        if step == every + 1:
            with torch.no_grad():
                trainer.model.patch_embedding.head.weight.fill_(float("nan"))
        return step == asked

    with pytest.raises(RunError, match=f"not finite at step {every + 2}"):
        train(trainer, spoil, nothing)
    assert [path.name for path in replicate.checkpoints()] == [f"step-0000000{every}.pt"]
    assert resumed(replicate).step == every


def test_clipping_begins_at_its_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[float | None] = []
    take_step = trainer.take_step
    monkeypatch.setattr(trainer, "take_step", lambda m, o, e, clip: (used.append(clip), take_step(m, o, e, clip))[1])
    trained(tmp_path, "learning.clip_from=2", "learning.clip_norm=0.5")
    assert used == [None, None, 0.5, 0.5, 0.5, 0.5]


def test_learning_rate_follows_its_schedule(tmp_path: Path) -> None:
    replicate, *_ = trained(tmp_path, "learning.lr_schedule={name: warm_up, warm_up_steps: 4}", "runtime.log_every=1")
    rates = [line["learning_rate"] for line in replicate.metrics() if "learning_rate" in line]
    assert rates == pytest.approx([0.25e-3, 0.5e-3, 0.75e-3, 1e-3, 1e-3, 1e-3])


def test_it_says_how_fast_it_was_and_how_long_it_waited_for_data(undisturbed: Any) -> None:
    """Whenever it logs, here every second step of six; what differs from run to run stands in a file of its own."""
    lines = list(read_lines(undisturbed[0].training / "system.jsonl"))
    assert len(lines) == 3
    assert all(line["clips_per_second"] > 0 for line in lines)
    assert all(0 < line["data_wait_percentage"] < 100 for line in lines)
    assert all(line["matmul_peak_percentage"] > 0 for line in lines)
    one, other = (
        [line["clips_per_second"] / line["matmul_peak_percentage"] for line in lines[n : n + 2]] for n in (0, 1)
    )
    assert one == pytest.approx(other, rel=2e-3)  # each of the four is within 5e-4 of itself; the peak is measured once


def test_validation_is_the_same_whenever_it_is_asked(tmp_path: Path) -> None:
    """Fixed clips, times and noise: the same weights give the same loss, however often and whenever it is asked."""
    replicate = made(tmp_path)[0]
    trainer = trainer_of(replicate)
    state = trainer.generator.get_state()
    first = trainer.validation_losses()
    assert trainer.validation_losses() == first
    assert torch.equal(trainer.generator.get_state(), state)
    assert first["validation_loss"] == pytest.approx(sum(first[f"validation_loss_band_{b}"] for b in range(4)) / 4)


def test_raw_losses_are_noted_while_the_average_holds_the_initial_weights(tmp_path: Path) -> None:
    """0.6 to the power of 4 is 0.13, of 5 it is 0.08; the last step, whose losses are the result, has none."""
    replicate, _, final = trained(tmp_path, "learning.ema_decay=0.6", "runtime.validate_every=1")
    noted = {line["step"]: line for line in metrics(replicate) if "validation_loss" in line}
    assert [step for step, line in noted.items() if "raw_validation_loss" in line] == [1, 2, 3, 4]
    assert sorted(noted) == [1, 2, 3, 4, 5, 6]
    for line in (noted[1], noted[4]):
        assert line["raw_validation_loss"] != line["validation_loss"]
        bands = [line[f"raw_validation_loss_band_{band}"] for band in range(4)]
        assert line["raw_validation_loss"] == pytest.approx(sum(bands) / 4)
    assert not any(name.startswith("raw") for name in final)


def test_arms_of_short_and_long_clips_see_the_same_videos(tmp_path: Path) -> None:
    """Six videos suffice for the short clips, three of them for the long ones; so it is for validation."""
    for number in range(8):
        name = f"{'test' if number > 5 else 'train'}/v{number}"
        write_pictures(tmp_path / "videos" / name, [f"{k:03d}.png" for k in range(20 if number % 2 else 8)], 16, 16)
    words = [
        "data.dataset=video_folder",
        f"data.path={tmp_path / 'videos'}",
        "model.classes=0",
        "floors=[]",
        "seeds=[0]",
    ]
    words += ["scoring.real_interval=1", "scoring.real_clips=2", "claim=[]", "ablate={data.interval: [1, 4]}"]
    seen = []
    for replicate in made(tmp_path, *words, only=()):
        trainer = trainer_of(replicate)
        seen.append([trainer.prepared.records[video].path for video in trainer.batches.videos])
        assert trainer.validation_split == "test"
        with mock.patch.object(trainer.batches.cache, "batch", wraps=trainer.batches.cache.batch) as read:
            trainer.validation_losses()
        assert {trainer.prepared.records[video].path for video in read.call_args.args[0]} == {"test/v7"}
    assert seen == [["train/v1", "train/v3", "train/v5"]] * 2


def test_mirrored_clips_are_trained_under_the_label_of_their_direction(tmp_path: Path) -> None:
    four = ("data.dataset.classes=4", "model.classes=4", "learning.batch_size=12")
    ones = {flip: trainer_of(made(tmp_path / str(flip), *four, f"data.flip={flip}")[0]) for flip in (0.0, 0.5, 1.0)}
    _, left, right, _ = range(4)  # moves_down, moves_left, moves_right, moves_up
    for step in range(3):
        plain, some, mirrored = (trainer.batches.read(step) for trainer in ones.values())
        assert plain[1] is not None
        assert some[1] is not None
        assert mirrored[1] is not None
        swapped = torch.where(plain[1] == left, right, torch.where(plain[1] == right, left, plain[1]))
        assert mirrored[1].tolist() == swapped.tolist()
        flipped = ones[0.5].batches.sampler.batch(step).flipped
        assert some[1].tolist() == torch.where(flipped, swapped, plain[1]).tolist()


# ---------------------------------------------------------------- stills behind the clips

JOINT = ("learning.joint_images=3",)


def test_joint_training_resumed_equals_undisturbed_and_logs_both_losses(tmp_path: Path) -> None:
    undisturbed, expected, final = trained(tmp_path / "undisturbed", *JOINT)
    replicate, state, losses = trained(tmp_path / "resumed", *JOINT, stops=(3,))
    assert_same(state, expected)
    assert losses == final
    assert metrics(replicate) == metrics(undisturbed)
    logged = [line for line in metrics(replicate) if "loss" in line]
    assert len(logged) == 3
    for line in logged:  # 4 frames of the clip and 3 stills
        assert line["loss"] == pytest.approx((4 * line["loss_clips"] + 3 * line["loss_stills"]) / 7)
    assert not any("stills" in name for name in losses)  # validated on clips alone


def test_stills_change_neither_clips_nor_times_nor_noise(tmp_path: Path) -> None:
    """Without stills a batch is what it was before there were any; with them its clips are the same."""
    alone, joint = (trainer_of(made(tmp_path / str(n), f"learning.joint_images={n}")[0]) for n in (0, 3))
    for step in range(2):
        without, with_stills = (
            one.batches.draw(step, one.generator, one.times, one.draw_latents) for one in (alone, joint)
        )
        assert (without.stills, without.still_labels) == (0, None)
        assert torch.equal(with_stills.x0[:, :4], without.x0)
        assert torch.equal(with_stills.noise[:, :4], without.noise)
        assert torch.equal(with_stills.t, without.t)
        assert torch.equal(with_stills.labels, without.labels)
        assert with_stills.x0.shape[1] == 7
        assert with_stills.still_labels.shape == (4, 3)
    assert torch.equal(alone.generator.get_state(), joint.generator.get_state())


def test_times_change_neither_clips_nor_noise_nor_label_drops(tmp_path: Path) -> None:
    alike, middle = (
        trainer_of(made(tmp_path / name, f"diffusion.timestep_sampling={name}", "learning.label_drop=0.5")[0])
        for name in ("uniform", "logit_normal")
    )
    for step in range(2):
        one, other = (which.batches.draw(step, which.generator, which.times, which.draw_latents)
                      for which in (alike, middle))  # fmt: skip
        assert torch.equal(one.x0, other.x0)
        assert torch.equal(one.noise, other.noise)
        assert torch.equal(one.labels, other.labels)
        assert not torch.equal(one.t, other.t)
    assert torch.equal(alike.generator.get_state(), middle.generator.get_state())


def test_stills_are_frames_of_the_cache_under_the_labels_of_their_videos(tmp_path: Path) -> None:
    trainer = trainer_of(made(tmp_path, *JOINT, "learning.label_drop=0.0")[0])
    batches = trainer.batches
    assert batches.still_sampler is not None
    chosen = batches.still_sampler.batch(5, batches.sampler.batch(5).videos)
    moments, labels, _ = batches.read_stills(5)
    for row, (videos, frames) in enumerate(zip(chosen.videos, chosen.frames.tolist(), strict=True)):
        for place, (video, frame) in enumerate(zip(videos, frames, strict=True)):
            number = batches.videos[video]
            assert torch.equal(moments[row, place], batches.cache.clip(number, [frame])[0])
            assert labels is not None
            assert [int(labels[row, place])] == trainer.prepared.labels([number])


def test_all_stills_of_a_sample_are_dropped_by_one_number(tmp_path: Path) -> None:
    """One draw of as many numbers as clips for the clips, then one of as many for their stills."""
    trainer = trainer_of(made(tmp_path, *JOINT, "learning.label_drop=0.5")[0])
    of_clips, of_stills, of_flips = torch.tensor([[0.4, 0.6, 0.4, 0.6], [0.6, 0.4, 0.4, 0.6], [0.5] * 4])
    drawn = [of_flips, of_clips, of_flips, of_stills]  # stills ask once more which videos the clips are of
    with mock.patch.object(torch, "rand", side_effect=lambda *a, **k: drawn.pop(0)):
        batch = trainer.batches.draw(0, trainer.generator, trainer.times, trainer.draw_latents)
    assert not drawn
    assert batch.labels is not None
    assert batch.still_labels is not None
    assert (batch.labels == 2).tolist() == [True, False, True, False]
    assert (batch.still_labels == 2).tolist() == [[dropped] * 3 for dropped in (False, True, True, False)]


# ---------------------------------------------------------------- other parts of learning


def test_muon_resumed_equals_undisturbed(tmp_path: Path) -> None:
    expected_replicate, expected, final = trained(tmp_path / "undisturbed", "learning.optimiser=muon")
    replicate, state, losses = trained(tmp_path / "resumed", "learning.optimiser=muon", stops=(3,))
    assert set(state["optimiser"]) == {"matrices", "others"}
    assert_same(state, expected)
    assert losses == final
    assert metrics(replicate) == metrics(expected_replicate)
