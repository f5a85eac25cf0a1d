"""Training on captions: what a batch has of them, how they are dropped, and that a resumed training is the same."""

import re
from pathlib import Path

import pytest
import torch

from experiments.launch.launching import make_run_folders
from experiments.launch.preparing import prepare_data
from experiments.plan.loading import load_plan
from experiments.training.batches import Batches
from experiments.training.losses import Batch
from experiments.training.open_data import open_data
from experiments.training.processes import ALONE, Processes
from experiments.training.trainer import Trainer
from registry.errors import RunError, SpecError
from registry.runs.replicate import Replicate
from tests.fixtures.text_trainings import write_text
from tests.fixtures.toy_replicates import assert_same, made, nothing, resumed, trainer_of


def ready(folder: Path, *overrides: str) -> Replicate:
    write_text(folder)
    (replicate,) = made(folder, *overrides)
    return replicate


@pytest.fixture(scope="module")
def replicate(tmp_path_factory: pytest.TempPathFactory) -> Replicate:
    return ready(tmp_path_factory.mktemp("text"))


def of(trainer: Trainer, step: int = 0) -> tuple[list[str], torch.Tensor]:
    """The captions of a step's clips, and the embeddings that their batch has."""
    batches = trainer.batches
    generator = torch.Generator().manual_seed(0)
    batch = batches.draw(step, generator, trainer.times, trainer.draw_latents)
    videos = [batches.videos[place] for place in batches.sampler.batch(step).videos]
    assert batch.text is not None
    assert batch.text_mask is not None
    assert not batch.text[~batch.text_mask].any()
    return batches.prepared.captions(videos), batch.text


def test_a_batch_has_the_captions_of_its_videos(tmp_path: Path) -> None:
    trainer = trainer_of(ready(tmp_path, "learning.label_drop=0.0", "sampling.guidance=1.0"))
    assert trainer.batches.texts is not None
    encoder = trainer.batches.texts
    for step in range(3):
        captions, text = of(trainer, step)
        assert all(re.fullmatch(r"an? \w+ \w+ moves \w+", caption) for caption in captions)
        assert torch.equal(text, encoder.read(encoder.numbers(captions))[0])
        assert text.shape == (4, 9, 8)


def test_dropped_captions_are_the_empty_one_and_change_nothing_else(replicate: Replicate, tmp_path: Path) -> None:
    everything = trainer_of(ready(tmp_path, "learning.label_drop=1.0"))
    _, text = of(everything)
    texts = everything.batches.texts
    assert texts is not None
    empty, _ = texts.read(torch.tensor([texts.empty]))
    assert torch.equal(text, empty.expand(4, -1, -1))
    some = trainer_of(replicate)
    batches = [
        trainer.batches.draw(0, torch.Generator().manual_seed(0), trainer.times, trainer.draw_latents)
        for trainer in (everything, some)
    ]
    for key in ("x0", "t", "noise"):
        assert torch.equal(*(getattr(batch, key) for batch in batches))
    assert some.batches.spec.learning.label_drop == 0.1


def test_processes_share_out_the_captions(replicate: Replicate) -> None:
    trainer = trainer_of(replicate)
    of_one = trainer.batches

    def batch(processes: Processes) -> Batch:
        given = of_one.spec, of_one.seed, of_one.prepared, of_one.cache, of_one.device, processes, of_one.texts
        generator = torch.Generator().manual_seed(0)
        return Batches(*given).draw(1, generator, trainer.times, trainer.draw_latents)

    whole = batch(ALONE)
    for rank in range(3):
        share = Processes(rank, 3)
        rows = slice(share.share(4).start, share.share(4).stop)
        part, wanted = batch(share).rows(rows), whole.rows(rows)
        assert_same(part.given, wanted.given)
        assert torch.equal(part.noise, wanted.noise)


def test_a_caption_reaches_the_loss_and_the_gradients(replicate: Replicate) -> None:
    trainer = trainer_of(replicate)
    before = {name: value.clone() for name, value in trainer.model.named_parameters()}
    for _ in range(3):  # the outputs of cross-attention start at zero, so that what is before them learns later
        trainer.train_step()
    reading = [name for name in before if "cross_attn" in name or "conditioning.caption" in name]
    now = dict(trainer.model.named_parameters())
    assert reading
    assert [name for name in reading if torch.equal(before[name], now[name]) and not name.endswith(".bias")] == []
    losses = trainer.validation_losses()
    assert losses == trainer.validation_losses()
    texts = trainer.batches.texts
    assert texts is not None
    trainer.batches.captions = lambda videos: torch.full((len(videos),), texts.empty)  # type: ignore[method-assign]
    assert trainer.validation_losses() != losses


def test_a_resumed_training_is_the_undisturbed_one_bit_for_bit(replicate: Replicate) -> None:
    whole = trainer_of(replicate)
    for _ in range(4):
        whole.train_step()
    first = trainer_of(replicate)
    for _ in range(2):
        first.train_step()
    first.save()
    second = resumed(replicate)
    assert second.step == 2
    for _ in range(2):
        second.train_step()
    assert_same(second.state()["model"], whole.state()["model"])
    assert_same(second.state()["ema"], whole.state()["ema"])


def test_captions_that_changed_are_not_gone_on_with(tmp_path: Path) -> None:
    replicate = ready(tmp_path)
    prepared, cache = open_data(replicate)
    path = prepared.folder / "manifest.csv"
    told = path.read_text().replace(" moves left", " goes left")
    from hashlib import sha256

    summary = prepared.folder / "manifest.json"
    summary.write_text(
        summary.read_text().replace(sha256(path.read_bytes()).hexdigest(), sha256(told.encode()).hexdigest())
    )
    path.write_text(told)
    with pytest.raises(RunError, match=r"the captions changed since .* was launched"):
        Trainer(replicate, prepared, cache, torch.device("cpu"))


def test_a_set_without_captions_is_refused_by_the_line(tmp_path: Path) -> None:
    from tests.fixtures.made_videos import gradient_frames, write_video

    for seed in range(2):
        write_video(tmp_path / "videos" / f"{seed}.avi", gradient_frames(8, seed=seed))
    words = ("data.dataset=video_folder", f"data.path={tmp_path / 'videos'}", "scoring.metrics=[]")
    plan = load_plan(write_text(tmp_path), words, tmp_path / "runs", ("baseline",))
    make_run_folders(plan, {"commit": "", "changed": False, "snapshot": ""})
    with pytest.raises(
        SpecError, match=r"toy\.yaml:\d+: data\.text_encoder: arm baseline reads captions, and no video"
    ):
        prepare_data(plan, nothing)
    (tmp_path / "videos" / "captions.csv").write_text("path,caption\n0.avi,waves\n1.avi,more waves\n")
    (prepared,) = prepare_data(plan, nothing).values()
    assert len(list((prepared.folder / "captions").glob("*/embeddings.npy"))) == 1
