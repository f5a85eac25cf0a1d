"""Differences of code among replicates: told by part and loop, arm and seed; axes are none."""

from typing import Any

import pytest

from analysis.results.mixed_code import MixedCode, mixed_code, mixed_code_of
from analysis.results.results_frame import load
from analysis.tables.score_table import summary
from analysis.verdicts.judging import judge, refusal
from registry.experiment.claims import ResolvedClaim

CLAIM = ResolvedClaim("order", "x", ("b", "a"), ("b", "a"), "fvd", "min")


def made(part: str, digest: str = "1", loop: str = "1", scoring: str = "1") -> dict[str, Any]:
    return {"training": {part: [digest], "training loop": [loop]}, "evaluation": {"scoring loop": [scoring]}}


def replicates(**changed: dict[str, Any]) -> list[tuple[str, int, dict[str, Any]]]:
    """Two arms with two seeds; `changed` names some, such as `a0`."""
    return [
        (arm, seed, changed.get(f"{arm}{seed}", made(f"blocks.{arm}", arm))) for arm in ("a", "b") for seed in (0, 1)
    ]


def test_arms_that_use_different_parts_are_made_by_the_same_code() -> None:
    assert mixed_code(replicates()) == []
    assert mixed_code([("a", 0, None), ("a", 1, {}), ("a", 2, made("blocks.a"))]) == []  # not recorded: nothing to say


def test_what_differs_is_told_with_arms_and_seeds() -> None:
    (found,) = mixed_code(replicates(b1=made("blocks.b", "other")))
    assert str(found) == "blocks.b: b seed 0 / b seed 1"
    assert found.as_json() == {"digests": {"blocks.b": ["b", "other"]}, "made": [{"b": [0]}, {"b": [1]}]}
    (found,) = mixed_code(replicates(b0=made("blocks.b", "b", "2", "2"), b1=made("blocks.b", "b", "2", "2")))
    assert str(found) == "training loop, scoring loop: a seeds 0, 1 / b seeds 0, 1"


def test_a_replicate_that_was_resumed_by_changed_code_is_made_by_both() -> None:
    both = {"training": {"blocks.a": ["a", "2"]}, "evaluation": {"blocks.a": ["2"]}}
    (found,) = mixed_code([("a", 0, both)])
    assert str(found) == "blocks.a: a seed 0 / a seed 0"


def test_long_lists_are_cut() -> None:
    many = [(f"arm {arm}", seed, made("p", loop=str(seed == 0))) for arm in range(6) for seed in range(20)]
    (found,) = mixed_code(many)
    assert str(found).count("arm 0") == 2
    assert "seeds 1, 2, 3, 4, 5, 6, 7, 8, …" in str(found)
    assert str(found).endswith(" and 2 more arms")


def frame_of(metric: str, **changed: dict[str, Any]) -> Any:
    return load(
        {
            "experiment": "toy", "arm": arm, "axes": {}, "seed": seed, "identity": arm, "state": "done", "folder": "f",
            "result": {"scores": {metric: 1.0 + seed * 0.01 + (arm == "a")}, "data_digest": "d", "made_by": own},
        }
        for arm, seed, own in replicates(**changed)
    )  # fmt: skip


def test_a_verdict_is_refused_or_judged_as_ever() -> None:
    frame = frame_of("fvd", b1=made("blocks.b", "other"))
    (clean,) = judge(frame_of("fvd"), [CLAIM])
    (answer,) = judge(frame, [CLAIM])
    assert (answer.verdict, answer.effect, answer.interval, answer.p) == ("refused", None, None, None)
    assert "made by different code: blocks.b: b seed 0 / b seed 1" in answer.reason
    assert "--mixed-code" in refusal([answer, clean])
    (judged,) = judge(frame, [CLAIM], harmless="a comment")
    assert (judged.verdict, judged.effect, judged.p) == (clean.verdict, clean.effect, clean.p)
    assert (judged.harmless, [type(one) for one in judged.mixed_code]) == ("a comment", [MixedCode])
    assert refusal([judged, clean]) == ""
    assert judge(frame_of("fvd"), [CLAIM], harmless="a comment") == [clean]


def test_a_refused_claim_leaves_the_others_as_they_are() -> None:
    frame = frame_of("fvd", b1=made("blocks.b", "other"))
    alone = ResolvedClaim("order", "x", ("a", "a"), ("a", "a"), "fvd", "min")
    assert [answer.verdict for answer in judge(frame, [CLAIM, alone])] == ["refused", "undecided"]


@pytest.mark.parametrize(("metric", "told"), [("fvd", 1), ("validation_loss", 0)])
def test_what_samples_and_scores_does_not_touch_the_validation_loss(metric: str, told: int) -> None:
    frame = frame_of(metric, b1=made("blocks.b", "b", scoring="2"))
    assert len(mixed_code_of(frame, ["a", "b"], metric)) == told
    assert len(mixed_code_of(frame, ["a"], metric)) == 0


def test_a_table_says_so() -> None:
    frame = frame_of("fvd", b1=made("blocks.b", "other"))
    assert "made by different code: blocks.b: b seed 0 / b seed 1" in summary(frame, ["fvd"]).notes
    assert not summary(frame_of("fvd"), ["fvd"]).notes
