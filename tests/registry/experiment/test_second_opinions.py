"""Second opinions: scores by further detectors, without which every identity is what it was."""

import pytest
import yaml

from components.scoring.protocol_metrics import build_metrics
from registry.errors import SpecError
from registry.experiment.arms import resolve_experiment
from registry.experiment.claims import scores_of
from registry.experiment.experiment_file import load_experiment
from registry.experiment.resolve import resolve, resolve_protocol
from registry.parts.catalogue import catalogue
from registry.runs.machine import ROOT
from registry.schema.spec import Spec

MODEL = {"width": 64, "heads": 4, "depth": 2}
RANDOM = {"name": "random_r3d", "width": 2}


def spec(**scoring: object) -> Spec:
    data = {"resolution": 16, "frames": 8, "autoencoder": {"name": "pixels", "factor": 2}}
    found, problems = resolve({"model": MODEL, "data": data, "scoring": scoring}, catalogue())
    assert found is not None, problems
    return found


def test_each_detector_measures_what_is_measured_by_one() -> None:
    opinions = spec(second_opinions=[RANDOM], metrics=["fvd", "kvd"])
    assert [part.name for part in opinions.scoring.detectors] == ["moving_shapes_r3d", "random_r3d"]
    assert opinions.scoring.second_opinions[0].parameters == {"seed": 0, "width": 2}
    names = [name for metric in build_metrics(opinions.scoring, catalogue()) for name in metric.names()]
    own, other = "[moving_shapes_r3d]", "[random_r3d]"
    bases = ("fvd", "fvd_extrapolated", "kvd")
    assert names == [*(base + own for base in bases), *(base + other for base in bases)]


def test_without_one_identities_are_what_they_were() -> None:
    """Also of what says that there is none; with one, the training is the same and the evaluation another."""
    plain, none, given = spec(), spec(second_opinions=[]), spec(second_opinions=["random_r3d"])
    assert "second_opinions" not in plain.science()["scoring"]
    assert plain.identity == none.identity != given.identity
    assert plain.training == given.training
    assert Spec.model_validate(given.model_dump()).identity == given.identity


def test_a_short_name_is_that_of_the_detector() -> None:
    scores = scores_of({"scoring": {"second_opinions": ["random_r3d"]}}, catalogue())
    names = {name: full for name, (full, _) in scores.items()}
    assert names["fvd"] == names["fvd[moving_shapes_r3d]"] == "fvd[moving_shapes_r3d]"
    assert names["kvd[random_r3d]"] == "kvd[random_r3d]"


@pytest.mark.parametrize(
    ("opinions", "told"),
    [
        (["moving_shapes_r3d"], "moving_shapes_r3d is the detector already"),
        (["random_r3d", "random_r3d"], "is there twice"),
        (["random_rd3"], "did you mean 'random_r3d'"),
        ([{"name": "random_r3d", "widht": 3}], "unknown key"),
    ],
)
def test_what_is_no_second_opinion_is_told(opinions: list[object], told: str) -> None:
    _, problems = resolve({"model": MODEL, "scoring": {"second_opinions": opinions}}, catalogue())
    assert any(key[:2] == ("scoring", "second_opinions") and told in message for key, message in problems)
    _, problems = resolve_protocol({"second_opinions": opinions}, catalogue())
    assert any(key[0] == "second_opinions" and told in message for key, message in problems)


def test_clips_that_a_second_opinion_cannot_read_are_told() -> None:
    data = {"resolution": 16, "frames": 8, "autoencoder": {"name": "pixels", "factor": 2}}
    raw = {"model": MODEL, "data": data, "scoring": {"second_opinions": ["i3d"]}}
    _, problems = resolve(raw, catalogue())
    assert [message for _, message in problems if "i3d needs clips of at least 9 frames, not 8" in message]


BASE = {
    "name": "two",
    "base": {
        "model": {**MODEL, "patch": 2, "classes": 4},
        "data": {"resolution": 16, "frames": 8, "autoencoder": {"name": "pixels", "factor": 2}},
        "scoring": {"second_opinions": ["random_r3d"], "metrics": ["fvd", "kvd"]},
    },
    "ablate": {"model.conditioning": ["s_adaln", "all_tokens"]},
}


def claims_of(tmp_path, metric: object):
    claim = {"axis": "conditioning", "better": "s_adaln", "worse": "all_tokens", "metric": metric}
    path = tmp_path / "two.yaml"
    path.write_text(yaml.safe_dump({**BASE, "claim": claim}))
    return resolve_experiment(load_experiment(path))[1]


def test_a_claim_in_several_metrics_is_judged_in_each(tmp_path) -> None:
    claims = claims_of(tmp_path, ["fvd[random_r3d]", "fvd", "kvd"])
    full = ("fvd[random_r3d]", "fvd[moving_shapes_r3d]", "kvd[moving_shapes_r3d]")
    assert tuple(claim.metric for claim in claims) == full
    assert {claim.together for claim in claims} == {full}
    (alone,) = claims_of(tmp_path, "fvd")
    assert alone.together == ()
    assert claims_of(tmp_path, ["fvd"]) == [alone]


@pytest.mark.parametrize(
    ("metric", "told"),
    [
        (["fvd", "kvdd"], "claim.metric: no metric 'kvdd'; did you mean 'kvd'"),
        (["fvd", "fvd[moving_shapes_r3d]"], r"claim.metric: names fvd\[moving_shapes_r3d\] twice"),
        ([], "metric: expected a score or a list of scores"),
    ],
)
def test_metrics_that_are_none_are_told(tmp_path, metric: object, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        claims_of(tmp_path, metric)


@pytest.mark.parametrize(
    "name", ["weizmann", "latte/small/weizmann_joint_images", "latte/small/weizmann_initialisation"]
)
def test_real_videos_are_scored_by_detectors_that_saw_real_pictures(name: str) -> None:
    """The file says so: what a spec means does not depend on which weights lie on a machine."""
    arms, _ = resolve_experiment(load_experiment(ROOT / "experiments" / f"{name}.yaml"))
    detectors = [part.name for part in arms[0].spec.scoring.detectors]
    assert detectors == ["transnet_v2", "efficientnet_lite0"]
