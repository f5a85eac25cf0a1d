import sys

import numpy as np
import pytest
from PIL import Image

from analysis.figures import curves_figure, samples_figure, scores_figure
from analysis.results import load
from registry.errors import RunError
from tests.analysis.replicates import replicates

SCORES = {"baseline": [1.0, 2.0, 4.0], "blocks=variant_4": [5.0, None, 8.0], "later": [None]}


def drawn(axes):
    return [np.asarray(line.get_xdata(), dtype=float).tolist() for line in axes.lines]


def test_the_scores_figure_draws_every_seed_mean_and_interval():
    figure = scores_figure(load(replicates(SCORES)), "fvd")
    (axes,) = figure.axes
    lines = drawn(axes)
    assert [1.0, 2.0, 4.0] in lines
    assert [5.0, 8.0] in lines
    assert [pytest.approx(7 / 3)] in lines
    assert [pytest.approx(7 / 3 - 3.794583), pytest.approx(7 / 3 + 3.794583)] in lines  # t(0.975, 2) = 4.302653
    assert [label.get_text() for label in axes.get_yticklabels()][1] == "blocks=variant_4\nn = 2"
    assert axes.get_xlabel().startswith("fvd ")


def test_scores_that_are_not_there_or_not_comparable_are_not_drawn():
    frame = load(replicates(SCORES))
    with pytest.raises(RunError, match="has the score 'kvd'"):
        scores_figure(frame, "kvd")
    mixed = load(replicates({"a": [1.0]}) + replicates({"b": [1.0]}, protocol="q"))
    with pytest.raises(RunError, match="different protocol"):
        scores_figure(mixed, "fvd")


def test_the_curves_are_means_over_seeds_with_a_band_and_count_a_repeated_step_once():
    metrics = {
        ("a", 0): [{"step": 1, "loss": 9.0}, {"step": 1, "loss": 1.0}, {"step": 2, "loss": 2.0}],
        ("a", 1): [{"step": 1, "loss": 3.0}, {"step": 2, "speed": 5.0}],
        ("b", 0): [{"step": 1, "loss": 7.0}],
    }
    (axes,) = curves_figure(metrics, "loss").axes
    assert [line.get_ydata().tolist() for line in axes.lines] == [[2.0, 2.0], [7.0]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a (n = 2)", "b (n = 1)"]
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == (1.0, 3.0)
    assert curves_figure(metrics, "loss", log=True).axes[0].get_yscale() == "log"
    with pytest.raises(RunError, match="'kvd'"):
        curves_figure(metrics, "kvd")


def test_the_filmstrip_shows_both_sides(tmp_path):
    red, blue = np.zeros((2, 2, 5, 8, 12, 3), dtype=np.uint8)
    red[..., 0], blue[..., 2] = 255, 255
    figure = samples_figure(red, blue, tmp_path / "strip.png", frames=3)
    pixels = np.asarray(Image.open(tmp_path / "strip.png").convert("RGB")).astype(int)
    left, right = np.split(pixels, [pixels.shape[1] // 2], axis=1)
    for half, channel, other in ((left, 0, 2), (right, 2, 0)):
        coloured = (half[..., channel] > 200) & (half[..., other] < 50)
        assert coloured.mean() > 0.5
        assert not ((half[..., other] > 200) & (half[..., channel] < 50)).any()
    strip = figure.axes[0].images[0].get_array()
    enlarged, gap = 8, 2  # 96 pixels over the longer side of 12; a gap of at least two pixels
    assert strip.shape == (2 * 8 * enlarged + gap, 3 * 12 * enlarged + 2 * gap, 3)


def test_the_filmstrip_refuses_what_is_no_video(tmp_path):
    good = np.zeros((1, 2, 4, 4, 3), dtype=np.uint8)
    for bad in (good[0], good.astype(float), good[:0]):
        with pytest.raises(RunError, match="sampled videos must be uint8"):
            samples_figure(good, bad, tmp_path / "strip.png")
    assert not (tmp_path / "strip.png").exists()


def test_no_global_figures_are_left():
    scores_figure(load(replicates(SCORES)), "fvd")
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
