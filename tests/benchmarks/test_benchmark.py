"""The benchmark compares like with like, prints its table and writes its file."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.benchmarks import __main__ as benchmark
from tests.benchmarks import data_rows, measuring, rows
from tests.benchmarks.measuring import Row
from tests.parity.rounding import EPS


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """`main` sets the threads of the process; leave them as they were."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_both_sides_train_on_the_same_loss() -> None:
    """The losses of two steps, so that gradients and AdamW count as well; sums of 100,000 numbers are off by some EPS.

    AdamW moves weights by 1e-4 whatever the size of a gradient, so that those which are all rounding move the second
    loss; that stays below 1e-4 of it, where the step itself moves it by more than 1e-3.
    """
    work = rows.quickstart()
    baseline, ours = rows.official_step(work), rows.our_step(work, "fp32")
    first, second = [(baseline(), float(ours())) for _ in range(2)]
    assert first[1] == pytest.approx(first[0], rel=100 * EPS)
    assert second[1] == pytest.approx(second[0], rel=1e-4)
    assert abs(second[0] - first[0]) > 1e-3 * first[0]


@pytest.mark.parametrize("guidance", [1.0, 1.5])
def test_both_sides_draw_the_same_latents(guidance: float) -> None:
    """To what the parity tests allow of a sampling trajectory: 2e-5 of the largest value."""
    ways = rows.sampling(rows.quickstart(), 2, guidance, 2, 1).ways
    baseline, ours = ways["official"](), ways["fp32"]()
    torch.testing.assert_close(ours, baseline, rtol=0, atol=2e-5 * baseline.abs().max().item())
    half = ways["bf16"]()
    assert 0 < (half - baseline).abs().max() < 0.1 * baseline.abs().max()


def test_both_sides_score_the_same() -> None:
    """Sums of a few thousand products in 20 layers, ordered otherwise; a distance is of their squares."""
    ways = data_rows.scoring(rows.CPU, clips=2, frames=9, side=16).ways
    found = ways["official"]()
    assert found > 0
    assert ways["ours"]() == pytest.approx(found, rel=1e-3)


def test_both_sides_are_asked_for_the_same_clips() -> None:
    row = data_rows.fetching(rows.CPU)
    pictures, moments = row.ways["official"](), row.ways["cache"]()
    assert pictures.shape == (4, 16, 3, 256, 256)
    assert moments.shape == (4, 16, 8, 32, 32)
    assert pictures.min() >= -1
    assert pictures.max() <= 1
    assert pictures[0, 0].ne(pictures[0, 1]).any()


def test_other_packages_compute_the_same() -> None:
    """A network of float32, and a matrix root of float64."""
    small = {"attention_head_dim": 12, "num_attention_heads": 2, "num_layers": 1, "cross_attention_dim": 24}
    row = data_rows.against_diffusers(rows.CPU, **small, sample_size=8, caption_channels=6, video_length=4)
    torch.testing.assert_close(row.ways["fp32"](), row.ways["diffusers"](), rtol=1e-5, atol=1e-5)
    row = data_rows.against_torchmetrics(rows.CPU, clips=500)
    assert [row.ways["ours"]()] * len(row.ways) == pytest.approx([way() for way in row.ways.values()], rel=1e-6)


def test_a_gpu_that_is_not_there_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        benchmark.main(["--gpu"])
    assert "leave it out" in capsys.readouterr().err


def test_table_and_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(measuring, "SIDE", {"cpu": 32})
    calls: list[str] = []
    ways = {"official": lambda: calls.append("official"), "ours": lambda: calls.append("ours")}
    monkeypatch.setitem(benchmark.ROWS, "toy", lambda device: Row("nothing", ways, repetitions=3, macs=5))
    benchmark.main(["toy", "--json", str(tmp_path / "found.json")])
    assert calls == ["official", "ours"] * 4, "they take turns, after one call each"
    printed = capsys.readouterr().out
    assert "| nothing | official |" in printed
    assert "| nothing | ours |" in printed
    found = json.loads((tmp_path / "found.json").read_text())
    assert {"date", "processor", "torch", "threads"} <= set(found["machine"])
    assert len(found["rows"][0]["ways"]["ours"]["seconds"]) == 3


def test_a_row_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        benchmark.main(["step-weizman"])
    assert "step-weizmann" in capsys.readouterr().err
