import sys

import numpy as np
import pytest
from PIL import Image

from analysis.figures import pictures
from analysis.figures.arm_figures import curve_figure, curves_figure, draw_curves, samples_figure, scores_figure
from analysis.figures.report_figures import Results
from analysis.results.results_frame import load
from registry.errors import RunError
from tests.fixtures.replicates import floor, replicates

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
    assert figure.get_supxlabel().startswith("fvd")


def test_scores_that_are_not_there_or_not_comparable_are_not_drawn():
    frame = load(replicates(SCORES))
    with pytest.raises(RunError, match="has the score 'kvd'"):
        scores_figure(frame, "kvd")
    mixed = load(replicates({"a": [1.0]}) + replicates({"b": [1.0]}, protocol="q"))
    with pytest.raises(RunError, match="different protocols"):
        scores_figure(mixed, "fvd")


def test_the_curves_are_means_over_seeds_with_a_band_and_count_a_repeated_step_once():
    metrics = {
        ("a", 0): [{"step": 1, "loss": 9.0}, {"step": 1, "loss": 1.0}, {"step": 2, "loss": 2.0}],
        ("a", 1): [{"step": 1, "loss": 3.0}, {"step": 2, "speed": 5.0}],
        ("b", 0): [{"step": 1, "loss": 7.0}],
    }
    (axes,) = curves_figure(metrics, "loss").axes
    assert [line.get_ydata().tolist() for line in axes.lines] == [[2.0, 2.0], [7.0]]
    assert [text.get_text() for text in axes.figure.legends[0].get_texts()] == ["a (n = 2)", "b (n = 1)"]
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


def test_the_floor_of_real_halves_is_a_band_behind_the_scores():
    floors = [floor([0.5, 1.5]), floor([9.0], "reconstruction"), floor([7.0, 8.0], protocol="q")]
    figure = scores_figure(load(replicates(SCORES)), "fvd", floors=floors)
    (axes,) = figure.axes
    (band,) = axes.patches
    assert (band.get_x(), band.get_width()) == (pytest.approx(1 - 0.5**0.5), pytest.approx(2 * 0.5**0.5))
    assert [1.0, 1.0] in drawn(axes)
    assert "real halves" in figure.get_supxlabel()
    assert "protocol p" in figure.get_supxlabel()
    assert not scores_figure(load(replicates(SCORES)), "fvd").axes[0].patches


def points(*values):
    return [
        {"share": 1 / 2**k, "n_fake": 64 // 2**k, "n_real": 64 // 2**k, "value": value, "sd": 1.0 if k else None}
        for k, value in enumerate(values)
    ]


def test_the_n_curve_has_its_points_and_the_line_of_its_limit(tmp_path):
    curves = {
        "fvd": points(12.0, 14.0, 19.0),
        "fvd_extrapolated": points(12.0, 14.0, 19.0),
        "kvd": points(1.0),
        "is": [],
    }
    limits = {"fvd_extrapolated": {"value": 10.0, "slope": 2.0, "shares": [1.0, 0.5]}}
    first, second = curve_figure(curves, tmp_path / "curve.png", limits=limits).axes
    assert [first.get_ylabel(), second.get_ylabel()] == ["fvd", "kvd"]
    lines = [(tuple(line.get_xdata()), tuple(line.get_ydata())) for line in first.lines if len(line.get_xdata()) == 3]
    assert ((1 / 64, 1 / 32, 1 / 16), (12.0, 14.0, 19.0)) in lines
    assert ((0.0, 1 / 64, 1 / 32), (10.0, 12.0, 14.0)) in lines  # only over the sizes that it was fitted to
    assert first.get_legend().get_texts()[0].get_text() == "infinitely many clips: 10"
    assert second.get_legend() is None
    assert Image.open(tmp_path / "curve.png").size[0] > 100


def test_no_n_curve_is_an_error(tmp_path):
    with pytest.raises(RunError, match="no N-curve"):
        curve_figure({"fvd": []}, tmp_path / "curve.png")
    assert not (tmp_path / "curve.png").exists()


def test_the_curves_of_scores_that_were_measured_are_drawn_and_none_of_none(tmp_path):
    limit = {"slope": 2.0, "shares": [1.0, 0.5]}
    scores = [
        {"metric": "fvd", "value": 12.0, "curve": points(12.0, 14.0), "details": {"slices": 2}},
        {"metric": "fvd_extrapolated", "value": 10.0, "curve": points(12.0, 14.0), "details": limit},
        {"metric": "kid", "value": 1.0, "curve": [], "details": {}},
    ]
    assert draw_curves(scores, tmp_path / "curve.png") == tmp_path / "curve.png"
    assert (tmp_path / "curve.png").is_file()
    assert draw_curves(scores[2:], tmp_path / "none.png") is None
    assert not (tmp_path / "none.png").exists()


def test_a_figure_of_very_many_arms_is_coarser_and_no_error(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "MOST_DOTS", 300)  # in place of what takes hundreds of arms and a minute
    (path,) = pictures.draw(tmp_path, Results(load(replicates(SCORES))))
    with Image.open(path) as picture:
        assert 290 < max(picture.size) <= 300
