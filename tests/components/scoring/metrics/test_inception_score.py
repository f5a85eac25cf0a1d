"""The inception score of videos."""

from pathlib import Path

import numpy as np
import pytest
import torch

from components.scoring import scripted_process
from components.scoring.contracts import Features
from components.scoring.metrics.inception_score import InceptionScore
from components.scoring.scripted_file import load_scripted
from registry.errors import RunError, SpecError
from tests.fixtures.gaussians import features, spoiled
from tests.fixtures.scripted_networks import ClassifierStandIn, Probabilities, save, trusted


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    """What a scripted network does in a process of its own is tested in test_scripted.py."""
    monkeypatch.setattr(scripted_process, "GuardedNetwork", load_scripted)


@pytest.fixture(scope="module")
def logits(tmp_path_factory):
    return str(save(ClassifierStandIn(), tmp_path_factory.mktemp("classifier") / "logits.pt"))


@pytest.fixture(scope="module")
def probabilities(tmp_path_factory):
    return str(save(Probabilities(), tmp_path_factory.mktemp("classifier") / "probabilities.pt"))


def given(rows):
    return Features(np.asarray(rows, dtype=np.float32)[:, None])


def of(metric, side):
    return metric.score(side)[metric.names()[0]]


def test_it_is_the_formula_split_by_split(logits):
    metric = InceptionScore(classifier=logits, **trusted(logits), outputs="logits", classes=16)
    side = features(205)
    rows = side.of(range(205)).astype(np.float64)
    p = np.exp(rows) / np.exp(rows).sum(1, keepdims=True)
    np.random.RandomState(42).shuffle(p)
    parts = [p[i * 205 // 10 : (i + 1) * 205 // 10] for i in range(10)]
    values = [np.exp((part * np.log(part / part.mean(0))).sum(1).mean()) for part in parts]
    found = of(metric, side)
    assert found.value == pytest.approx(np.mean(values), rel=1e-9)
    assert found.details["sd"] == pytest.approx(np.std(values), rel=1e-9)
    assert found.interval[0] < found.value < found.interval[1]
    again = InceptionScore(classifier=logits, **trusted(logits), outputs="probabilities", classes=16)
    softmax = torch.softmax(torch.from_numpy(side.of(range(205))).double(), 1)
    assert of(again, given(softmax)).value == pytest.approx(found.value, rel=1e-6)


def test_extremes(probabilities):
    metric = InceptionScore(classifier=probabilities, **trusted(probabilities), classes=4, splits=1)
    assert of(metric, given(np.eye(4)[np.arange(40) % 4])).value == pytest.approx(4)  # sure, and all classes
    assert of(metric, given(np.eye(4)[np.zeros(40, int)])).value == pytest.approx(1)  # sure, one class
    assert of(metric, given(np.full((40, 4), 0.25))).value == pytest.approx(1)  # never sure


def test_few_clips_are_scored_in_one_split(probabilities):
    found = of(
        InceptionScore(classifier=probabilities, **trusted(probabilities), classes=2),
        given(np.eye(2)[np.arange(19) % 2]),
    )
    assert (found.interval, found.details["splits"]) == (None, 1)
    assert "too few for 10 splits" in found.details["note"]


@pytest.mark.parametrize("inputs", ["uint8", "float"])
def test_the_classifier_gets_what_was_announced(logits, inputs):
    metric = InceptionScore(classifier=logits, **trusted(logits), outputs="logits", inputs=inputs, classes=3)
    clips = torch.zeros(2, 4, 6, 5, 3, dtype=torch.uint8)
    clips[..., 1] = 255
    np.testing.assert_allclose(metric.extractor.features(clips), [[0, 10, 0]] * 2, atol=1e-5)
    assert metric.names() == (f"inception_score[{metric.extractor.sha256[:8]}]",)


def test_facts_and_fingerprints(logits):
    assert (InceptionScore.needs_reference, InceptionScore.higher_is_better, InceptionScore.by_detector) == (
        False,
        True,
        False,
    )
    as_bytes, as_floats = (
        InceptionScore(classifier=logits, **trusted(logits), inputs=inputs).extractor for inputs in ("uint8", "float")
    )
    assert as_bytes.fingerprint() != as_floats.fingerprint()


def test_without_a_classifier_it_is_the_papers(probabilities, monkeypatch, tmp_path):
    monkeypatch.delenv("LATTE_WORKBENCH_C3D", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(RunError, match=r"fetch-weights c3d.*c3d_ucf101\.pt.*LATTE_WORKBENCH_C3D"):
        InceptionScore()
    monkeypatch.setenv("LATTE_WORKBENCH_C3D", probabilities)
    assert InceptionScore(classes=3, **trusted(probabilities)).extractor.path == Path(probabilities)
    with pytest.raises(SpecError, match=r"inception_score's `sha256`=[0-9a-f]{64}"):
        InceptionScore(classes=3)


def test_what_is_wrong_is_said(logits, probabilities, tmp_path):
    with pytest.raises(SpecError, match=r"there is no file '/no/such\.pt'"):
        InceptionScore(classifier="/no/such.pt")
    (tmp_path / "rubbish.pt").write_bytes(b"nothing")
    with pytest.raises(RunError, match="no scripted network"):
        InceptionScore(classifier=str(tmp_path / "rubbish.pt"))
    clips, line = torch.zeros(1, 4, 6, 5, 3, dtype=torch.uint8), save(torch.nn.Linear(3, 2), tmp_path / "l.pt")
    with pytest.raises(RunError, match=r"answers \(1, 3\), not \(1, 101\); set `classes`"):
        InceptionScore(classifier=logits, **trusted(logits)).extractor.features(clips)
    with pytest.raises(RunError, match=r"fails on clips torch\.uint8 \(1, 3, 4, 6, 5\)"):
        InceptionScore(classifier=str(line), **trusted(line)).extractor.features(clips)
    metric = InceptionScore(classifier=probabilities, **trusted(probabilities), classes=16)
    with pytest.raises(RunError, match=r"are no probabilities .* set outputs=logits"):
        of(metric, features(30))
    with pytest.raises(RunError, match="1 of 30 sampled clips are not finite"):
        of(metric, spoiled(features(30), [7]))
    with pytest.raises(RunError, match="at least 2 sampled clips"):
        of(metric, features(1))
