"""`analysis.load`: from a file or a folder of runs to frames, comparisons, tables, figures and videos."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis.reading import effects
from analysis.reading.experiment_results import ExperimentResults
from analysis.results.curves import CACHE
from analysis.results.tunings import tuning_lines
from experiments.plan.loading import load_plan
from experiments.plan.plan import Plan
from experiments.plan.reading import frame_of
from registry.errors import RunError, SpecError
from registry.experiment import expand
from registry.experiment.claims import Direction, direction_of
from registry.runs.replicate import Replicate
from registry.runs.tunings import Tried, TunedArm
from tests.fixtures.finished_runs import finish
from tests.fixtures.toy_replicates import TOY, write

FVD = "fvd[moving_shapes_r3d]"
GRID = TOY.replace("ablate:", "grid:").replace(
    "model.blocks: [variant_1, variant_4]",
    "model.blocks: [variant_1, variant_4]\n  model.temporal_position: [absolute, rotary]",
).replace("seeds: [0, 1]", "seeds: [0, 1, 2]").split("claim:")[0]  # fmt: skip


def plan_of(folder: Path, *overrides: str, text: str = TOY) -> Plan:
    return load_plan(write(folder, text), overrides, folder / "runs")


def score(replicate: Replicate) -> dict[str, float] | None:
    """Variant 4 is worse by about 5, rotary by about 1, and both together by 2 more."""
    worse = 5.0 * ("variant_4" in replicate.arm) + 1.0 * ("rotary" in replicate.arm)
    worse += 2.0 * ("variant_4" in replicate.arm and "rotary" in replicate.arm)
    return {FVD: 30.0 + replicate.seed + worse * (1 + 0.01 * replicate.seed), "validation_loss": 0.5}


@pytest.fixture
def loaded(tmp_path: Path) -> ExperimentResults:
    finish(plan_of(tmp_path), score, losses=3)
    return analysis.load(tmp_path / "toy.yaml")


def test_runs_have_axes_scores_costs_and_the_spec_with_its_types(loaded: ExperimentResults) -> None:
    runs = loaded.runs
    assert list(zip(runs["arm"], runs["seed"], strict=True)) == [
        ("baseline", 0), ("baseline", 1), ("blocks=variant_4", 0), ("blocks=variant_4", 1)
    ]  # fmt: skip
    assert runs["blocks"].tolist() == ["variant_1", "variant_1", "variant_4", "variant_4"]
    assert runs[FVD].tolist() == pytest.approx([30.0, 31.0, 35.0, 36.05])
    assert (runs["parameters"] > 0).all()
    assert (runs["macs"] > 0).all()
    kinds = {key: str(runs[key].dtype) for key in ("model.width", "learning.learning_rate", "data.antialias")}
    assert kinds == {"model.width": "Int64", "learning.learning_rate": "float64", "data.antialias": "boolean"}
    assert runs["sampling.sampler"].tolist() == ["ddim"] * 4
    assert runs["sampling.sampler.steps"].tolist() == [2] * 4


def test_what_has_not_run_is_a_row_and_missing(tmp_path: Path) -> None:
    finish(plan_of(tmp_path), lambda one: score(one) if one.seed == 0 else None)
    found = analysis.load(tmp_path / "toy.yaml")
    assert found.frame["state"].tolist() == ["done", "missing"] * 2
    assert found.runs[FVD].isna().tolist() == [False, True] * 2
    assert "2 done, 2 missing" in repr(found)


def test_a_folder_of_runs_and_that_of_an_experiment_say_the_same(loaded: ExperimentResults, tmp_path: Path) -> None:
    for place in (tmp_path / "runs", tmp_path / "runs" / "toy"):
        pd.testing.assert_frame_equal(analysis.load(place).runs, loaded.runs)


def test_from_any_folder(loaded: ExperimentResults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the runs, far below them, and far away with the file's path alone."""
    deep = tmp_path / "analysis" / "notebooks"
    deep.mkdir(parents=True)
    for folder, file in ((tmp_path, "toy.yaml"), (deep, "../../toy.yaml"), (Path("/"), str(tmp_path / "toy.yaml"))):
        monkeypatch.chdir(folder)
        pd.testing.assert_frame_equal(analysis.load(file).runs.drop(columns="folder"),
                                      loaded.runs.drop(columns="folder"))  # fmt: skip


def test_it_says_which_overrides_were_used(loaded: ExperimentResults, tmp_path: Path) -> None:
    finish(plan_of(tmp_path, "learning.steps=7"), score)
    newest = analysis.load(tmp_path / "toy.yaml")
    assert newest.overrides == ("learning.steps=7",)
    assert repr(newest).startswith("toy with learning.steps=7: 2 arms, 2 seeds (4 done)")
    assert set(newest.runs["learning.steps"]) == {7}
    assert set(analysis.load(tmp_path / "toy.yaml", overrides=[]).runs["learning.steps"]) == {6}
    with pytest.raises(
        RunError, match=r"never launched with learning\.steps=8, but with learning\.steps=7; no overrides"
    ):
        analysis.load(tmp_path / "toy.yaml", overrides=["learning.steps=8"])


def test_what_is_missing_is_said(tmp_path: Path, loaded: ExperimentResults) -> None:
    elsewhere = write(tmp_path / "other", TOY.replace("name: toy", "name: other"))
    for call, message in (
        (lambda: analysis.load(tmp_path / "tyo.yaml"), "tyo.yaml: no such file or folder"),
        (lambda: analysis.load(elsewhere, runs=tmp_path / "runs"), "holds no runs of 'other'; .* launched in it: toy"),
        (lambda: analysis.load(tmp_path / "runs" / "_trainings"), "holds no launched experiment; valid: toy"),
        (
            lambda: loaded.paired("fvd", "blocks=variant_3"),
            "no arm 'blocks=variant_3'; did you mean 'blocks=variant_4'",
        ),
        (lambda: loaded.paired("fid", "blocks=variant_4"), "no score 'fid'; valid: fvd"),
        (lambda: loaded.pareto("fvd", "makes"), "no column 'makes' with numbers; did you mean 'macs'"),
        (lambda: loaded.curves("los"), "nothing named 'los' was logged; did you mean 'loss'"),
        (lambda: loaded.at_step(3), "no arm is evaluated at step 3, but at 6"),
        (lambda: loaded.samples(), "baseline seed 0: has no sampled videos yet"),
        (lambda: loaded.samples(seed=9), "seed 9 has no run folder yet; seeds 0, 1"),
    ):
        with pytest.raises(RunError, match=message):
            call()
    with pytest.raises(SpecError, match=re.escape("did you mean 'base'?")):
        analysis.load(write(tmp_path / "wrong", TOY.replace("base:", "bass:")))


def test_a_pair_of_arms_by_seed(loaded: ExperimentResults) -> None:
    found = loaded.paired("fvd", "blocks=variant_4")
    assert found.by_seed["difference"].tolist() == pytest.approx([5.0, 5.05])
    assert found.by_seed.index.tolist() == [0, 1]
    assert found.mean == pytest.approx(5.025)
    assert found.interval is not None
    # Student's t with one degree of freedom is Cauchy: its 97.5 % point is tan(0.475 pi)
    half = np.tan(0.475 * np.pi) * np.std([5.0, 5.05], ddof=1) / np.sqrt(2)
    assert found.interval == pytest.approx((5.025 - half, 5.025 + half))
    assert str(found).startswith(f"blocks=variant_4 less baseline in {FVD}: +5.02 (")
    assert "n = 2" in found._repr_html_()


def test_effects_of_a_grid(tmp_path: Path) -> None:
    finish(plan_of(tmp_path, text=GRID), score)
    found = analysis.load(tmp_path / "toy.yaml")
    main = found.main_effects("fvd").set_index(["axis", "value"])
    # averaged over the other axis: (5 + 7) / 2 and (1 + 3) / 2, a hundredth more for each seed
    assert main.loc[("blocks", "variant_4"), "effect"] == pytest.approx(6.0 * 1.01)
    assert main.loc[("temporal_position", "rotary"), "effect"] == pytest.approx(2.0 * 1.01)
    assert main["points"].tolist() == [2, 2]
    (crossed,) = found.interactions("fvd").to_dict("records")
    assert (crossed["axis"], crossed["other_axis"], crossed["n"]) == ("blocks", "temporal_position", 3)
    assert crossed["effect"] == pytest.approx(2.0 * 1.01)


def test_an_ablation_has_main_effects_and_no_interactions(loaded: ExperimentResults) -> None:
    (effect,) = loaded.main_effects("fvd").to_dict("records")
    assert (effect["axis"], effect["value"], effect["against"]) == ("blocks", "variant_4", "variant_1")
    assert effect["effect"] == pytest.approx(loaded.paired("fvd", "blocks=variant_4").mean)
    assert loaded.interactions("fvd").empty


def test_score_and_cost(loaded: ExperimentResults) -> None:
    front = loaded.pareto("fvd", "parameters")
    assert front["arm"].tolist() == ["baseline", "blocks=variant_4"]
    assert front["on_front"].tolist() == [True, False]  # larger and worse
    assert front["mean"].tolist() == pytest.approx([30.5, 35.525])


def test_a_short_name_is_every_detector_in_a_table_and_the_first_one_elsewhere(tmp_path: Path) -> None:
    other = "fvd[other]"
    second = {other: 9.0, "fvd": 3.0, "fvd_gap[other]": 1.0}  # that of the literature has no brackets
    finish(
        plan_of(tmp_path), lambda own: {**{name: of - own.seed for name, of in second.items()}, **(score(own) or {})}
    )
    own = analysis.load(tmp_path / "toy.yaml")
    assert list(own.table("fvd").protocols) == [FVD, other, "fvd"]
    assert list(own.table("fvd", other, "validation_loss").protocols) == [FVD, other, "fvd", "validation_loss"]
    pair = own.paired("fvd", "blocks=variant_4")
    assert (pair.metric, own.paired(other, "blocks=variant_4").metric) == (FVD, other)
    for shown in (pair.by_seed, own.main_effects("fvd"), own.interactions("fvd"), own.pareto("fvd")):
        assert shown.columns.name == FVD  # stands in the corner of the table
    with pytest.raises(RunError, match="no score 'fv'; did you mean"):
        own.table("fv")


def test_a_name_from_a_file_is_no_markup_in_a_notebook(loaded: ExperimentResults) -> None:
    evil = "<img src=x onerror=alert(1)>"
    frame = loaded.frame.replace({"arm": {"blocks=variant_4": evil}})
    shown = effects.paired(frame, FVD, evil, "baseline")._repr_html_()
    assert "<img" not in shown
    assert shown.count("&lt;img") == 2


def test_what_was_tuned_stands_below_table_and_verdict_as_the_verbs_print_it(loaded: ExperimentResults) -> None:
    arms = dict(loaded.resolved.arms)
    tried = [Tried(values={"learning.learning_rate": rate}, identity=str(rate), score=rate) for rate in (1e-3, 2e-3)]
    chosen = TunedArm(arm="baseline", values=tried[0].values, identity="0.001", metric="validation_loss", raw=False,
                      steps=3, seeds=(9,), tried=tried)  # fmt: skip
    arms["baseline"] = arms["baseline"].model_copy(update={"tuned": chosen})
    loaded.resolved = loaded.resolved.model_copy(update={"arms": arms, "meanings": ("fvd: of toys",)})
    told = tuning_lines(loaded.resolved.tuned)
    assert len(told) == 2
    assert loaded.table("fvd").notes[-3:] == (*told, "fvd: of toys")
    for line in told:
        assert line in " ".join(str(loaded.verdict()).split())


def test_scores_are_tidy(loaded: ExperimentResults) -> None:
    scores = loaded.scores()
    assert len(scores) == 8
    assert {"arm", "blocks", "seed", "step", "metric", "value", "low", "high", "protocol"} <= set(scores.columns)
    wide = scores.pivot(index=["arm", "seed"], columns="metric", values="value")
    assert wide[FVD].tolist() == loaded.frame[FVD].tolist()
    assert set(scores["step"]) == {6}


def test_losses_of_two_objectives_are_shown_and_not_compared(tmp_path: Path) -> None:
    text = TOY.replace(
        "model.blocks: [variant_1, variant_4]", "diffusion.objective: [v_prediction, epsilon_learned_sigma]"
    )
    finish(plan_of(tmp_path, text=text.split("claim:")[0]), lambda own: {FVD: 30.0 + own.seed, **losses(own.seed)})
    own = analysis.load(tmp_path / "toy.yaml")
    table = own.table()
    assert table.rows["validation_loss"].tolist() == pytest.approx([0.45, 0.45])
    assert not table.rows["validation_loss mark"].any()
    assert table.rows["validation_loss delta"].isna().all()
    assert table.rows[f"{FVD} delta"].tolist()[1] == 0.0
    assert any("differs from baseline in diffusion.objective.name" in note for note in table.notes)
    for compared in (
        own.pareto,
        own.figure,
        own.main_effects,
        lambda name: own.paired(name, "objective=epsilon_learned_sigma"),
    ):
        with pytest.raises(RunError, match="different data or diffusion cannot be compared"):
            compared("validation_loss")
        compared(FVD)
    assert "loss_protocol" not in own.runs


def losses(seed: int) -> dict[str, float]:
    return {"validation_loss": 0.5 - 0.1 * seed}


def test_an_axis_called_steps_or_seed_is_read_back(tmp_path: Path) -> None:
    def of_sampler(replicate: Replicate) -> dict[str, float]:
        return {FVD: 30.0 + replicate.seed - float(replicate.axes["sampler.steps"])}

    text = TOY.replace("model.blocks: [variant_1, variant_4]", "sampling.sampler.steps: [2, 3]\n  sampling.seed: [1]")
    finish(plan_of(tmp_path, text=text.split("claim:")[0]), of_sampler)
    own = analysis.load(tmp_path / "toy.yaml")
    assert own.frame["sampler.steps"].tolist() == ["2", "2", "3", "3", "2", "2"]
    assert own.frame["steps"].tolist() == [6.0] * 6
    assert [f"{arm} {mean:.1f}" for arm, mean in zip(own.table().rows["arm"], own.table().rows[FVD], strict=True)] == [
        "baseline 28.5", "sampler.steps=3 27.5", "sampling.seed=1 28.5"
    ]  # fmt: skip
    assert list(own.scores().columns)[:4] == ["arm", "sampler.steps", "sampling.seed", "seed"]
    assert own.runs.columns.is_unique  # the axis is also a key of the spec
    assert own.runs["sampling.seed"].tolist() == [0, 0, 0, 0, 1, 1]
    assert own.runs.groupby("sampling.seed")[FVD].mean().tolist() == [28.0, 28.5]
    assert own.pareto("fvd", "sampling.seed")["sampling.seed"].tolist() == [0, 0, 1]


def test_an_older_launch_with_such_an_axis_is_read_where_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = TOY.replace("model.blocks: [variant_1, variant_4]", "sampling.sampler.steps: [2, 3]").split("claim:")[0]
    with monkeypatch.context() as older:
        older.setattr(expand, "TAKEN", set())
        finish(plan_of(tmp_path, text=text), score)
    own = analysis.load(tmp_path / "toy.yaml")
    assert own.arms == ["baseline", "steps=3"]
    assert own.frame["axis.steps"].tolist() == ["2", "2", "3", "3"]
    assert own.table(FVD).rows[FVD].tolist() == [30.5, 30.5]
    assert own.scores()["steps"].tolist()[:2] == ["2", "2"]
    planned = plan_of(tmp_path, text=text)  # the file as it is resolved now finds the same evaluations
    assert [arm.name for arm in planned.arms] == ["baseline", "sampler.steps=3"]
    assert frame_of(planned)["state"].tolist() == ["done"] * 4
    assert frame_of(planned)["sampler.steps"].tolist() == ["2", "2", "3", "3"]


def test_curves_are_never_stale(loaded: ExperimentResults) -> None:
    first = loaded.curves("loss")
    assert first.groupby("arm", observed=True)["loss"].count().tolist() == [6, 6]
    cached = list((loaded.folder.parent / CACHE).glob("*.parquet"))
    assert len(cached) == 4
    pd.testing.assert_frame_equal(loaded.curves("loss"), first)  # from the cache
    file = loaded.replicates[0].training / "metrics.jsonl"
    with file.open("a") as lines:
        lines.write(
            "\n".join([json.dumps({"step": 3, "loss": 9.0}), json.dumps({"step": 4, "loss": 0.25}), '{"step": 5'])
        )
    changed = loaded.curves("loss").query("arm == 'baseline' and seed == 0")
    assert changed["step"].tolist() == [1, 2, 3, 4]  # the line that was cut is not there
    assert changed["loss"].tolist() == [1.0, 0.5, 9.0, 0.25]  # a step that was made again counts as it is now
    cached[0].write_bytes(b"no parquet")
    assert len(loaded.curves("loss")) == len(first) + 1
    before = file.stat()
    file.write_text(file.read_text().replace("0.25", "0.75"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # as an archive that is unpacked over another does
    assert 0.75 in loaded.curves("loss")["loss"].tolist()


def test_the_verdict_is_that_of_the_verb(loaded: ExperimentResults) -> None:
    (answer,) = loaded.verdict()
    assert (answer.claim.arms, answer.verdict, answer.n) == (("baseline", "blocks=variant_4"), "supported", 2)
    assert "toy: verdict" in loaded.verdict()._repr_html_()


def test_a_table_and_figures_show_themselves(loaded: ExperimentResults) -> None:
    shown = loaded.table("fvd")._repr_html_()
    assert shown.count("<tr>") == 3
    assert "blocks=variant_4" in shown
    for figure in (loaded.figure("fvd"), loaded.curves_figure()):
        assert figure._repr_png_().startswith(b"\x89PNG")


def test_samples_play_in_a_notebook(loaded: ExperimentResults) -> None:
    previews = loaded.replicates[1].folder / "previews"
    previews.mkdir()
    (previews / "clip-000.mp4").write_bytes(b"video")
    shown = loaded.samples(seed=1)
    assert [clip.name for clip in shown.clips] == ["clip-000.mp4"]
    assert "<video src='data:video/mp4;base64,dmlkZW8='" in shown._repr_html_()
    assert "autoplay loop muted" in shown._repr_html_()


def test_the_way_of_a_score_that_is_recorded_with_its_weights_is_known(tmp_path: Path) -> None:
    directions: dict[str, Direction] = {"fvd[i3d]": "min", "inception_score": "max"}
    assert direction_of("inception_score[3c1f09aa]", directions) == "max"
    assert direction_of("inception_score", directions) == "max"
    assert direction_of("kvd[i3d]", directions) is None
    finish(plan_of(tmp_path), lambda own: {"inception_score[3c1f09aa]": 2.0 + ("variant_4" in own.arm), "other": 1.0})
    loaded = analysis.load(tmp_path / "toy.yaml")
    object.__setattr__(loaded.resolved, "directions", directions)
    front = loaded.pareto("inception_score[3c1f09aa]", "parameters").set_index("arm")["on_front"]
    assert front["blocks=variant_4"], "a greater score is better"
    with pytest.raises(RunError, match="nothing says which way other is better"):
        loaded.pareto("other", "parameters")


def test_an_evaluation_that_is_early_for_one_arm_and_last_for_another_counts_once(tmp_path: Path) -> None:
    text = TOY.replace("model.blocks: [variant_1, variant_4]", "learning.steps: [6, 3]").split("claim:")[0]
    plan = plan_of(tmp_path, "evaluate_at=[3]", "match=null", text=text)
    finish(plan, lambda own: {FVD: 30.0 + own.seed})
    scores = analysis.load(tmp_path / "toy.yaml", overrides=["evaluate_at=[3]", "match=null"]).scores()
    assert len(scores) == 6
    assert not scores.duplicated(["arm", "seed", "step", "metric"]).any()
