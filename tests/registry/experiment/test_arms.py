"""Axes -> arms: which there are, how they are called, which claims they answer, and how depth is matched."""

from pathlib import Path

import pytest

from components.network_counts import count_network
from registry.errors import SpecError
from registry.experiment.arm import Arm
from registry.experiment.arms import select
from tests.fixtures.writing import TOY, arms, one, problems, resolved, write

COUNTED = ("evaluated", "per_clip", "paper_convention")


def toy(tmp_path: Path, text: str) -> Path:
    return write(tmp_path, TOY + text)


def test_no_axis_is_one_baseline(tmp_path: Path) -> None:
    assert list(arms(toy(tmp_path, ""))) == ["baseline"]


def test_one_factor_at_a_time(tmp_path: Path) -> None:
    path = toy(
        tmp_path, "ablate:\n  model.blocks: [variant_1, variant_2, variant_3]\n  learning.learning_rate: [1e-4, 3e-4]\n"
    )
    found = arms(path)
    assert list(found) == ["baseline", "blocks=variant_2", "blocks=variant_3", "learning_rate=0.0003"]
    assert found["blocks=variant_3"].axes == {"blocks": "variant_3", "learning_rate": "0.0001"}
    assert found["blocks=variant_3"].spec.learning.learning_rate == 1e-4
    assert found["learning_rate=0.0003"].spec.model.blocks.name == "variant_1"


def test_a_grid_is_every_combination(tmp_path: Path) -> None:
    path = toy(tmp_path, "grid:\n  model.blocks: [variant_1, variant_2]\n  model.depth: [2, 4]\n")
    assert list(arms(path)) == ["baseline", "depth=4", "blocks=variant_2", "blocks=variant_2,depth=4"]


def test_a_grid_need_not_hold_the_base(tmp_path: Path) -> None:
    path = toy(
        tmp_path,
        "grid: {model.blocks: [variant_2, variant_3]}\nclaim: {axis: blocks, better: variant_2, worse: variant_3}\n",
    )
    found, claims = resolved(path)
    assert [arm.name for arm in found] == ["blocks=variant_2", "blocks=variant_3"]
    assert [c.arms for c in claims] == [("blocks=variant_2", "blocks=variant_3")]


def test_zip_links_values(tmp_path: Path) -> None:
    found = arms(toy(tmp_path, "zip:\n  model.width: [16, 32, 64]\n  model.heads: [2, 4, 8]\n"))
    assert list(found) == ["baseline", "width=32,heads=4", "width=64,heads=8"]
    assert [(arm.spec.model.width, arm.spec.model.heads) for arm in found.values()] == [(16, 2), (32, 4), (64, 8)]


def test_named_arms_change_several_keys(tmp_path: Path) -> None:
    path = toy(
        tmp_path, "arms:\n  deep.v2: {model.depth: 4, model.blocks: variant_2}\nclaim: {axis: arms, better: deep.v2}\n"
    )
    found, claims = resolved(path)
    assert [(arm.name, arm.axes) for arm in found] == [
        ("baseline", {"arms": "baseline"}),
        ("deep.v2", {"arms": "deep.v2"}),
    ]
    assert [c.arms for c in claims] == [("deep.v2", "baseline")]


def test_axes_of_all_kinds_together(tmp_path: Path) -> None:
    path = toy(
        tmp_path,
        "ablate: {model.blocks: [variant_2]}\ngrid: {model.depth: [2, 4]}\n"
        "zip: {learning.ema_decay: [0.8]}\narms: {x: {model.patch: 4}}\n",
    )
    found = arms(path)
    assert list(found) == ["baseline", "blocks=variant_2", "depth=4", "ema_decay=0.8", "x"]
    assert found["x"].axes == {"blocks": "variant_1", "depth": "2", "ema_decay": "0.9999", "arms": "x"}


def test_axes_that_end_alike_are_told_apart(tmp_path: Path) -> None:
    found = arms(toy(tmp_path, "ablate:\n  sampling.seed: [8]\n  scoring.seed: [8]\n  sampling.clips: [1]\n"))
    assert list(found) == ["baseline", "sampling.seed=8", "scoring.seed=8", "clips=1"]


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("sampling.sampler.steps", "sampler.steps"), ("learning.steps", "learning.steps"),
        ("sampling.seed", "sampling.seed"), ("data.dataset.seed", "dataset.seed"),
    ],
)  # fmt: skip
def test_an_axis_has_no_name_of_another_column_of_the_results(tmp_path: Path, key: str, name: str) -> None:
    found = arms(toy(tmp_path, f"ablate: {{{key}: [7, 8]}}\n"), "data.dataset=moving_shapes", "sampling.sampler=ddim")
    assert list(found) == ["baseline", f"{name}=7", f"{name}=8"]
    assert set(found["baseline"].axes) == {name}


def test_a_claim_may_still_call_such_an_axis_by_its_last_word(tmp_path: Path) -> None:
    text = "ablate: {sampling.sampler.steps: [7, 8]}\nclaim: {axis: steps, better: '8', worse: '7'}\n"
    (claim,) = resolved(toy(tmp_path, text), "sampling.sampler=ddim")[1]
    assert (claim.axis, claim.arms) == ("sampler.steps", ("sampler.steps=8", "sampler.steps=7"))


def test_values_may_be_parts_with_parameters(tmp_path: Path) -> None:
    text = """\
ablate:
  model.patch_embedding:
    - uniform_frame
    - {name: compression_frame, temporal_stride: 4}
    - compression_frame
  model.patch_embedding.temporal_stride: [1]
"""
    lines = problems(toy(tmp_path, text))
    assert "uniform_frame has no parameters" in one(lines, ":10: arm temporal_stride=1")
    found = arms(toy(tmp_path, text.rsplit("\n", 2)[0] + "\n"))
    assert list(found) == [
        "baseline",
        "patch_embedding=compression_frame(temporal_stride=4)",
        "patch_embedding=compression_frame",
    ]
    strides = [arm.spec.model.patch_embedding.parameters.get("temporal_stride") for arm in found.values()]
    assert strides == [None, 4, 2]


def test_a_point_that_repeats_an_arm_is_that_arm(tmp_path: Path) -> None:
    text = "ablate: {diffusion.noise_schedule: [linear, null, cosine]}\n"
    text += "claim: {axis: noise_schedule, better: cosine, worse: 'null'}\n"
    found, claims = resolved(toy(tmp_path, text))
    assert [arm.name for arm in found] == ["baseline", "noise_schedule=cosine"]
    assert claims[0].arms == ("noise_schedule=cosine", "baseline")


def test_claims_on_one_axis_of_several(tmp_path: Path) -> None:
    text = """\
grid:
  model.blocks: [variant_1, variant_2]
  model.depth: [2, 4, 6]
claim:
  - {axis: depth, better: 4, metric: "fvd[moving_shapes_r3d]"}
  - {axis: blocks, better: variant_2, worse: variant_1, direction: max, metric: validation_loss}
"""
    _, claims = resolved(toy(tmp_path, text.replace("grid", "ablate")))
    fvd = "fvd[moving_shapes_r3d]"
    assert [(c.axis, c.labels, c.arms, c.metric, c.direction) for c in claims] == [
        ("depth", ("4", "2"), ("depth=4", "baseline"), fvd, "min"),
        ("depth", ("4", "6"), ("depth=4", "depth=6"), fvd, "min"),
        ("blocks", ("variant_2", "variant_1"), ("blocks=variant_2", "baseline"), "validation_loss", "max"),
    ]
    _, claims = resolved(toy(tmp_path, text))
    at_depth = [("blocks=variant_2", "baseline"), ("blocks=variant_2,depth=4", "depth=4")]
    at_depth.append(("blocks=variant_2,depth=6", "depth=6"))
    assert [(c.axis, c.labels, c.cells, c.metric, c.direction) for c in claims] == [
        ("depth", ("4", "2"), [("depth=4", "baseline"), ("blocks=variant_2,depth=4", "blocks=variant_2")], fvd, "min"),
        ("depth", ("4", "6"), [("depth=4", "depth=6"), ("blocks=variant_2,depth=4", "blocks=variant_2,depth=6")], fvd,
         "min"),
        ("blocks", ("variant_2", "variant_1"), at_depth, "validation_loss", "max"),
    ]  # fmt: skip


def test_fvd_is_named_by_its_detector(tmp_path: Path) -> None:
    text = "ablate: {model.blocks: [variant_2]}\nclaim: {axis: blocks, better: variant_2}\n"
    assert resolved(toy(tmp_path, text))[1][0].metric == "fvd[moving_shapes_r3d]"
    assert resolved(toy(tmp_path, text), "scoring.detector=random_r3d")[1][0].metric == "fvd[random_r3d]"
    assert resolved(toy(tmp_path, text), "scoring.detector=i3d", "data.frames=9")[1][0].metric == "fvd"
    assert "no metric 'fvd[i3d]'" in one(problems(toy(tmp_path, text), "claim.metric='fvd[i3d]'"), "claim")


def least(found: dict[str, Arm]) -> dict[str, tuple[int | None, int]]:
    """By arm what the experiment asks of its training videos, and what they must have with its own clips."""
    return {name: (arm.spec.data.shortest_video, arm.spec.data.least_frames) for name, arm in found.items()}


def test_arms_of_different_clips_are_trained_on_the_same_videos(tmp_path: Path) -> None:
    path = toy(tmp_path, "  scoring: {real_interval: 1}\nablate: {data.interval: [1, 3, 5], data.frames: [5]}\n")
    found = arms(path, "data.interval=1")
    assert least(found) == {
        "baseline": (16, 16),
        "interval=3": (16, 16),
        "interval=5": (None, 16),
        "frames=5": (16, 16),
    }
    alone = arms(path, "data.interval=1", "ablate={}")
    assert least(alone) == {"baseline": (None, 4)}
    assert alone["baseline"].identity != found["baseline"].identity, "it is trained on other videos"
    longest = arms(path, "data.interval=5", "ablate={}")["baseline"]
    assert longest.identity == found["interval=5"].identity, "it is trained on the same videos as alone"


def test_a_need_that_is_written_holds_for_all_arms(tmp_path: Path) -> None:
    path = toy(tmp_path, "  scoring: {real_interval: 1}\nablate: {data.interval: [1, 3]}\n")
    assert least(arms(path, "data.interval=1", "data.shortest_video=30")) == {
        "baseline": (30, 30),
        "interval=3": (30, 30),
    }
    assert least(arms(path, "data.interval=1", "data.shortest_video=3"))["interval=3"] == (None, 10)  # says nothing
    varied = arms(path, "ablate={data.shortest_video: [40]}", "data.interval=1")
    assert least(varied) == {"baseline": (None, 4), "shortest_video=40": (40, 40)}


def test_arms_of_other_data_have_other_videos_anyway(tmp_path: Path) -> None:
    text = "arms: {more: {data.dataset: {name: moving_shapes, videos: 9}, data.interval: 7}}\n"
    found = arms(toy(tmp_path, text), "data.interval=1", "scoring.real_interval=1")
    assert least(found) == {"baseline": (None, 4), "more": (None, 22)}


def test_match_changes_depth(tmp_path: Path) -> None:
    text = "  learning: {steps: 1}\nablate: {model.blocks: [variant_3]}\nmatch: {parameters: 9%}\n"
    path = toy(tmp_path, text)
    found = arms(path, "model.depth=20")
    assert found["blocks=variant_3"].spec.model.depth == 16  # 20 * 18 / 22 = 16.4
    found = arms(path, "model.depth=20", "match={macs: 9%}")
    assert found["blocks=variant_3"].spec.model.depth != 20


@pytest.mark.parametrize(
    ("match", "counted"),
    [("macs", "evaluated"), ("macs_per_clip", "per_clip"), ("macs_paper_convention", "paper_convention")],
)
def test_match_goes_by_the_multiply_adds_that_it_names(tmp_path: Path, match: str, counted: str) -> None:
    """all_tokens has no modulation, which the reference repeats for every frame and this code evaluates once a clip."""
    path = toy(tmp_path, f"ablate: {{model.conditioning: [all_tokens]}}\nmatch: {{{match}: 3%}}\n")
    baseline, other = arms(path, "model.depth=40").values()
    counts = {name: [getattr(count_network(arm.spec), name) for arm in (baseline, other)] for name in COUNTED}
    assert counts[counted][1] == pytest.approx(counts[counted][0], rel=0.03)
    matched = [name for name in COUNTED if counts[name][1] == pytest.approx(counts[name][0], rel=0.03)]
    assert ("evaluated" in matched) == (match == "macs")


def test_match_keeps_what_is_equal_already(tmp_path: Path) -> None:
    found = arms(toy(tmp_path, "ablate: {model.blocks: [variant_2]}\nmatch: {parameters: 0.001}\n"), "model.depth=6")
    assert found["blocks=variant_2"].spec.model.depth == 6


def test_match_is_refused_where_no_depth_comes_near(tmp_path: Path) -> None:
    path = toy(tmp_path, "ablate: {model.blocks: [variant_3]}\nmatch: {parameters: 1%}\n")
    line = one(problems(path), "toy.yaml:5: arm blocks=variant_3: no depth brings its parameters within 1.0%")
    assert "depth 1 is -" in line
    assert "depth 2 is +" in line


def test_match_tells_shapes_that_do_not_go_together(tmp_path: Path) -> None:
    path = toy(tmp_path, "ablate: {model.blocks: [variant_3]}\nmatch: {parameters: 9%}\n")
    lines = problems(path, "model.patch=3")
    assert lines == ["command line: model.patch: patches of 3 do not divide a latent of 4x4"]


def test_select(tmp_path: Path) -> None:
    text = "ablate: {model.blocks: [variant_2, variant_3], model.depth: [4]}\n"
    found = [arm.name for arm in resolved(toy(tmp_path, text))[0]]

    def names(*patterns: str) -> list[str]:
        return select(found, patterns)

    assert names() == found
    assert names("blocks=*") == ["blocks=variant_2", "blocks=variant_3"]
    assert names("!blocks=*") == ["baseline", "depth=4"]
    assert names("*=*", "!*3") == ["blocks=variant_2", "depth=4"]
    with pytest.raises(SpecError, match="no arm matches 'block=variant_2'; did you mean 'blocks=variant_2'"):
        names("block=variant_2")
