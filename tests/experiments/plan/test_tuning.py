"""Arms that find values before the seeds that count: what is tried, what is refused, and what is chosen."""

import math
from pathlib import Path
from typing import Any

import pytest

from experiments.launch import launching
from experiments.launch.frozen_file import frozen_words
from experiments.launch.tuning import settled
from experiments.plan.loading import load_plan
from experiments.plan.plan import Plan
from experiments.plan.rows import rows
from experiments.plan.starts import with_starts
from experiments.plan.tuning import by_arm, diverged, tuning_plan
from experiments.record.recording import Recorder
from experiments.worker.run import run_training
from registry.errors import RunError, SpecError
from registry.parts.catalogue import catalogue
from registry.runs.records import State
from registry.runs.tunings import TunedArm
from tests.fixtures.toy_replicates import TOY, make_all, result_of

RATES = "learning.learning_rate: [1e-4, 1e-3, 1e-2]"
PLAIN = TOY.replace("steps: 6,", "steps: 60,").replace("seeds: [0, 1]", "seeds: [0, 1]\nfloors: []")


def write(folder: Path, tune: str = f"{{{RATES}, budget: 20%}}", text: str = PLAIN) -> Path:
    path = folder / "toy.yaml"
    path.write_text(f"{text}tune: {tune}\n", encoding="utf-8")
    return path


def plan_of(folder: Path, *overrides: str, **how: Any) -> Plan:
    return load_plan(folder / "toy.yaml", overrides, folder / "runs", **how)


def finish(plan: Plan, scores: dict[str, float]) -> None:
    """Give the short trainings results by name; one whose loss is infinite has failed for it."""
    for replicate in tuning_plan(plan).replicates:
        score = scores[replicate.arm]
        replicate.folder.mkdir(parents=True, exist_ok=True)
        if math.isinf(score):
            (replicate.folder / "desired").mkdir()
            (replicate.folder / "desired/toy-tuning.json").write_text('{"experiment": "toy-tuning", "arm": "x"}')
            error = f"RunError: {DIVERGED[len(replicate.arm) % 2]}"
            Recorder(replicate.training).event("failed", step=4, error=error)
        else:
            Recorder(replicate.folder).result(result_of(replicate, {"validation_loss": score}))


DIVERGED = (
    "the loss is not finite at step 4: {'loss': inf}",
    "clips 0 to 1 are not finite; look at the losses of the training",
)
NAMES = [f"{arm}learning_rate={rate}" for arm in ("", "blocks=variant_4,") for rate in ("0.0001", "0.001", "0.01")]


def test_all_candidates_of_an_arm_take_the_budget_together_on_seeds_of_their_own(tmp_path: Path) -> None:
    path = write(
        tmp_path, text=PLAIN.replace("ema_decay: 0.5", "ema_decay: 0.9, lr_schedule: cosine(warm_up_steps=15)")
    )
    tuning, plan = with_starts([load_plan(path)])
    assert (tuning.name, tuning.comes_first, plan.untuned) == ("toy-tuning", "tuning of toy", True)
    assert [arm.name for arm in tuning.arms] == NAMES
    assert tuning.file.experiment.seeds == (10_000,)
    for arm in tuning.arms:
        learning = arm.spec.learning
        assert learning.steps == 60 * 20 // 100 // 3
        assert learning.lr_schedule.parameters["warm_up_steps"] == 1  # 15 of 60 steps, of 4
        assert learning.ema_decay == 0.0  # 0.9 ** 4 of the initial weights would be in the average
        assert arm.spec.scoring.metrics == ()
    assert [arm.spec.learning.learning_rate for arm in tuning.arms[:3]] == [1e-4, 1e-3, 1e-2]
    two = with_starts([load_plan(path, ["tune.seeds=[7, 8]"])])[0]
    assert (two.file.experiment.seeds, two.arms[0].spec.learning.steps) == ((7, 8), 2)
    averaged = with_starts([load_plan(path, ["learning.ema_decay=0.5", "tune.budget=1"])])[0]
    assert {arm.spec.learning.ema_decay for arm in averaged.arms} == {0.5}
    without = load_plan(path, ["tune=null"])
    assert [arm.identity for arm in without.arms] == [arm.identity for arm in plan.arms]
    assert not without.candidates
    assert not without.untuned


def test_arms_that_share_a_training_share_its_candidates(tmp_path: Path) -> None:
    path = write(tmp_path, text=PLAIN.split("ablate:")[0] + "ablate: {sampling.guidance: [1.0, 2.0]}\nfloors: []\n")
    tuning, plan = with_starts([load_plan(path)])
    assert (len(plan.arms), len(tuning.arms)) == (2, 3)
    assert [[one.run.identity for one in own] for own in by_arm(plan).values()] == [
        [a.identity for a in tuning.arms]
    ] * 2


def test_before_the_tuning_an_arm_has_no_identity_and_no_runs(tmp_path: Path) -> None:
    write(tmp_path)
    plan = plan_of(tmp_path)
    assert (plan.replicates, plan.all_replicates, plan.work, plan.orphans()) == ([], [], [], [])
    assert [(row["identity"], row["state"], row["tuned"]) for row in rows(plan)] == [(None, "missing", None)] * 2
    assert all(row["gpu_hours_left"] >= 0 for row in rows(tuning_plan(plan)))
    with pytest.raises(RunError, match=r"learning_rate=0\.0001 seed 10000 is not done, but missing"):
        settled(plan)


def test_each_arm_gets_its_own_best_value_and_it_is_part_of_the_arm(tmp_path: Path) -> None:
    write(tmp_path)
    finish(plan_of(tmp_path), dict(zip(NAMES, [0.3, 0.1, 0.2, 0.5, 0.4, 0.3], strict=True)))
    assert plan_of(tmp_path).untuned  # whoever reads chooses nothing
    tuned = settled(plan_of(tmp_path))
    assert {arm.name: arm.spec.learning.learning_rate for arm in tuned.arms} == {
        "baseline": 1e-3,
        "blocks=variant_4": 1e-2,
    }
    again = plan_of(tmp_path)
    assert [arm.identity for arm in again.arms] == [arm.identity for arm in tuned.arms]
    assert with_starts([again]) == [again]
    written = plan_of(tmp_path, "tune=null", "learning.learning_rate=1e-3")
    assert written.arms[0].identity == again.arms[0].identity  # as if a person had written it
    assert {name: one.at_edge for name, one in again.chosen.items()} == {
        "baseline": [], "blocks=variant_4": ["learning.learning_rate"],
    }  # fmt: skip
    assert [row["tuned"] for row in rows(again)] == [
        {"learning.learning_rate": 1e-3}, {"learning.learning_rate": 1e-2},
    ]  # fmt: skip
    assert len(again.replicates) == 4
    assert plan_of(tmp_path, "tune.budget=40%").untuned  # another tuning
    assert plan_of(tmp_path, "seeds=[0, 1, 2]").chosen == again.chosen  # more seeds that count change nothing


def test_of_equals_the_first_is_chosen_and_what_diverged_never(tmp_path: Path) -> None:
    write(tmp_path)
    worst = math.inf
    finish(plan_of(tmp_path), dict(zip(NAMES, [0.2, 0.2, worst, worst, math.nan, 0.9], strict=True)))
    chosen = settled(plan_of(tmp_path)).chosen
    assert [one.values["learning.learning_rate"] for one in chosen.values()] == [1e-4, 1e-2]
    assert [[tried.score for tried in one.tried] for one in chosen.values()] == [[0.2, 0.2, None], [None, None, 0.9]]


def test_where_nothing_stayed_finite_nothing_is_chosen(tmp_path: Path) -> None:
    write(tmp_path)
    finish(plan_of(tmp_path), dict(zip(NAMES, [0.2, 0.1, 0.3, *[math.inf] * 3], strict=True)))
    with pytest.raises(RunError, match="arm blocks=variant_4: all candidates diverged"):
        settled(plan_of(tmp_path))
    assert plan_of(tmp_path).untuned


def test_a_training_that_diverges_is_known_by_what_it_says(tmp_path: Path) -> None:
    write(tmp_path, "{learning.learning_rate: [1e-3, 1e30], budget: 20%}", PLAIN.replace("steps: 60,", "steps: 80,"))
    tuning = plan_of(tmp_path, "runtime.log_every=1", stage="tuning", only=["learning_rate=1e+30"])
    (replicate,) = make_all(tuning)
    assert not diverged(replicate)
    with pytest.raises(RunError, match="not finite"):
        run_training(replicate.training)
    assert diverged(replicate)


def test_sampling_says_the_same_of_what_diverged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path)
    tuning = plan_of(tmp_path, stage="tuning", only=["learning_rate=0.0001"])
    (replicate,) = make_all(tuning)
    sampler = catalogue().find("sampler", replicate.spec.sampling.sampler.name).load()
    monkeypatch.setattr(sampler, "sample", lambda self, denoise, noise, *more: noise * math.inf)
    with pytest.raises(RunError, match="clips 0 to 1 are not finite"):
        run_training(replicate.training)
    assert diverged(replicate)


def test_what_diverged_is_not_tried_again(tmp_path: Path) -> None:
    write(tmp_path)
    finish(plan_of(tmp_path), dict(zip(NAMES, [0.2, *[math.inf] * 2, 0.1, math.inf, 0.3], strict=True)))
    tuning = plan_of(tmp_path, stage="tuning")
    assert [one.state for one in tuning.replicates].count(State.FAILED) == 3
    other = next(one for one in tuning.replicates if one.arm == NAMES[4])
    Recorder(other.training).event("failed", step=4, error="OSError: no such file")
    assert launching.retried(tuning) == [other]


def test_gradients_are_clipped_from_the_same_share_of_the_steps(tmp_path: Path) -> None:
    write(tmp_path, text=PLAIN.replace("clip_from: 1", "clip_from: 45"))
    assert {(one.run.spec.learning.steps, one.run.spec.learning.clip_from) for one in plan_of(tmp_path).candidates} == {
        (4, 3)
    }


@pytest.mark.parametrize(
    ("tune", "learning", "words"),
    [
        (
            "{learning.clip_norm: [0.1, 1.0], budget: 20%}",
            "clip_from: 59",
            "learning.clip_norm: short trainings never clip gradients, since learning.clip_from is 59 of 60 steps",
        ),
        (
            "{learning.clip_from: [0, 1, 20], budget: 20%}",
            "clip_from: 0",
            "arm baseline: learning.clip_from=0 and learning.clip_from=1 make the same training of 4 steps",
        ),
        (
            "{learning.clip_from: [0, 60, 20000], budget: 20%}",
            "clip_from: 0",
            "learning.clip_from=60 and learning.clip_from=20000 make the same training of 4 steps; raise tune.budget",
        ),
        (
            "{learning.lr_schedule.warm_up_steps: [5, 10, 30], budget: 20%}",
            "lr_schedule: cosine",
            "warm_up_steps=5 and learning.lr_schedule.warm_up_steps=10 make the same training of 4 steps",
        ),
    ],
)
def test_candidates_between_which_nothing_decides_are_refused(
    tmp_path: Path, tune: str, learning: str, words: str
) -> None:
    write(tmp_path, tune, PLAIN.replace("clip_from: 1", learning))
    with pytest.raises(SpecError) as caught:
        plan_of(tmp_path)
    assert words in str(caught.value)


def test_where_nothing_is_clipped_it_is_all_one_from_where(tmp_path: Path) -> None:
    write(tmp_path, "{learning.clip_norm: [null, 0.5], learning.clip_from: [0, 20], budget: 40%}")
    with pytest.raises(SpecError) as caught:
        plan_of(tmp_path)
    told = str(caught.value)
    assert "learning.clip_norm=null learning.clip_from=0 and learning.clip_norm=null learning.clip_from=20 make" in told
    assert "0.5" not in told
    assert "never clip" not in told
    write(tmp_path, "{learning.clip_norm: [null, 0.5], budget: 40%}")
    assert len(plan_of(tmp_path).candidates) == 4


def test_jobs_are_told_that_they_are_of_the_tuning(tmp_path: Path) -> None:
    write(tmp_path)
    tuning = plan_of(tmp_path, "learning.batch_size=2", stage="tuning")
    file, *words = frozen_words(tuning, tmp_path / "launch")
    assert words[-1] == "--tuning"
    frozen = load_plan(Path(file), (), tmp_path / "runs", stage="tuning")
    assert [arm.identity for arm in frozen.arms] == [arm.identity for arm in tuning.arms]


@pytest.mark.parametrize(
    ("tune", "more", "words"),
    [
        (f"{{{RATES}, seeds: [1]}}", "", "tune.seeds: 1 is among the seeds that count"),
        (f"{{{RATES}, budget: 1%}}", "", "tune.budget: 0.01 of 60 steps is less than a step for each of 3 trainings"),
        (f"{{{RATES}, budget: much}}", "", "tune.budget: expected a percentage"),
        ("{learning.learning_rate: [1e-3]}", "", "expected at least two candidates for learning.learning_rate"),
        ("{learning.learning_rat: [1e-3, 1e-2]}", "", "unknown key; did you mean 'learning_rate'"),
        ("{learning.learning_rate: [1e-3, fast]}", "", "learning.learning_rate: expected a valid number"),
        ("{learning.steps: [10, 20]}", "", "only keys of learning are tuned, and none of steps"),
        ("{model.width: [16, 32]}", "", "only keys of learning are tuned"),
        ("{budget: 20%}", "", "values: missing"),
        (f"{{{RATES}}}", "arms: {fast: {learning.learning_rate: 1e-2}}\n", "arms differ in learning.learning_rate"),
        (f"{{{RATES}}}", "search: {space: {model.depth: [2, 4]}}\n", "tune: does not go with a search"),
    ],
)
def test_what_cannot_be_tuned_is_told_at_its_place(tmp_path: Path, tune: str, more: str, words: str) -> None:
    path = write(tmp_path, tune, PLAIN + more)
    with pytest.raises(SpecError, match=f"toy.yaml:\\d+: .*{words}"):
        load_plan(path)


def test_an_experiment_that_tunes_is_no_start_and_one_that_does_not_has_no_tuning(tmp_path: Path) -> None:
    write(tmp_path)
    start = "{name: checkpoint, experiment: toy.yaml, arm: baseline}"
    other = tmp_path / "other.yaml"
    other.write_text(
        PLAIN.replace("name: toy", "name: other").replace("{steps: 60,", f"{{initialisation: {start}, steps: 60,")
    )
    with pytest.raises(SpecError, match="finds values of its arms by tuning"):
        load_plan(other)
    with pytest.raises(SpecError, match="has no `tune`"):
        plan_of(tmp_path, "tune=null", stage="tuning")


def test_a_choice_says_where_it_lies_in_its_list() -> None:
    def chosen(value: Any, *others: Any) -> list[str]:
        tried = [{"values": {"k": one}, "identity": str(one)} for one in (value, *others)]
        return TunedArm.model_validate({
            "arm": "a", "values": {"k": value}, "identity": str(value), "metric": "validation_loss", "raw": True,
            "steps": 1, "seeds": (1,), "tried": tried,
        }).at_edge  # fmt: skip

    assert chosen(2, 1, 3) == []
    assert chosen(3, 2, 1) == ["k"]
    assert chosen({"name": "muon"}, {"name": "adamw"}) == []  # parts have no order
