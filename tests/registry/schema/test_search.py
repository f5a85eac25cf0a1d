"""`search` and `screen` in an experiment file: what may be written, and what each mistake is told."""

from pathlib import Path

import pytest

from components.network_counts import count_for_matching
from registry import strict_yaml
from registry.errors import SpecError
from registry.experiment.arms import resolve_trial
from registry.experiment.experiment_file import load_experiment
from registry.schema.search import Objective, Search
from tests.fixtures.writing import TOY, arms, one, problems, write

SEARCH = """
search:
  space:
    learning.learning_rate: {low: 1e-4, high: 1e-2, log: true}
    model.blocks: [variant_1, {name: variant_2}]
    model.depth: {low: 2, high: 8, step: 2}
  objective: [fvd, {metric: macs, direction: min}]
  sampler: nsga2
  trials: 12
  seeds: [0, 1]
"""
SCREEN = "learning: {steps: 4000}\nablate: {model.blocks: [variant_1, variant_2]}\nscreen: {rungs: [1000, 3000]}\n"


def searching(space: str, more: str = "") -> str:
    return f"{TOY}search:\n  space: {{{space}}}\n{more}"


def test_a_search_is_read_and_makes_no_arm(tmp_path: Path) -> None:
    path = write(tmp_path, TOY + SEARCH)
    search = load_experiment(path).experiment.search
    assert search is not None
    assert search.space["model.depth"].whole
    assert not search.space["learning.learning_rate"].whole
    assert search.space["model.blocks"].edges == ("variant_1", {"name": "variant_2"})
    assert search.objective == (Objective(metric="fvd"), Objective(metric="macs", direction="min"))
    assert set(arms(path)) == {"baseline"}


def test_a_search_that_is_written_out_is_read_back(tmp_path: Path) -> None:
    for pruning in ("none", "median", "halving", "{method: halving, factor: 4, first: 2000}"):
        text = searching("learning.learning_rate: {low: 1e-4, high: 1e-2}", f"  pruning: {pruning}\n")
        file = load_experiment(write(tmp_path, text + "screen: {rungs: [1000]}\n"))
        assert not file.problems
        dumped = strict_yaml.dump(file.experiment.model_dump(mode="json", exclude_none=True))
        again = load_experiment(write(tmp_path, dumped, "again.yaml"))
        assert not again.problems
        assert (again.experiment.search, again.experiment.screen) == (file.experiment.search, file.experiment.screen)


def test_the_command_line_changes_a_search(tmp_path: Path) -> None:
    path = write(tmp_path, TOY + SEARCH)
    search = load_experiment(path, ["search.trials=3", "search.sampler=random", "search.parallel=2"]).experiment.search
    assert isinstance(search, Search)
    assert (search.trials, search.sampler, search.parallel) == (3, "random", 2)


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ("learning.lerning_rate: {low: 1e-4, high: 1e-2}", "unknown key; did you mean 'learning_rate'?"),
        ("learnin.steps: {low: 1, high: 2}", "unknown key 'learnin'; did you mean 'learning'?"),
        ("learning: {low: 1, high: 2}", "'learning' is a section; name one of its keys"),
        ("runtime.threads: {low: 1, high: 2}", "runtime is the efficiency half"),
        ("model.blocks: [variant_1, varian_4]", "no blocks 'varian_4': did you mean 'variant_4'"),
        ("model.depth: {low: 1.0, high: 4}", "expected a valid integer, got 1.0 (float)"),
        ("learning.ema_decay: {low: 0.5, high: 1.5}", "expected less than or equal to 1, got 1.5 (float)"),
        ("learning.ema_decay: {low: 0.5, hihg: 0.9}", "unknown key; did you mean 'high'?"),
        ("learning.ema_decay: {low: 0.9, high: 0.5}", "expected low below high"),
        ("learning.ema_decay: {low: 0.5}", "expected low and high"),
        ("learning.ema_decay: {low: 0.5, high: 0.9, choices: [0.5]}", "expected low and high, or choices, not both"),
        ("learning.ema_decay: {low: 0.0, high: 0.9, log: true}", "expected low above zero and no step, with log"),
        ("model.depth: {low: 2, high: 8, step: 0.5}", "expected a whole step"),
        ("model.depth: [2]", "expected at least two choices, each once"),
        ("model.depth: [2, 2]", "expected at least two choices, each once"),
        (
            "diffusion.objective: [epsilon_learned_sigma, v_prediction]",
            "validation_loss of trials that differ in diffusion.objective",
        ),
    ],
)
def test_a_wrong_space_is_told_at_its_line(tmp_path: Path, space: str, words: str) -> None:
    path = write(tmp_path, searching(space))
    assert words in one(problems(path), f"{path}:6: search.space.", words)


def test_what_does_not_go_with_the_base_may_go_with_other_values(tmp_path: Path) -> None:
    """variant_2 needs an even depth: a span with odd ones is no mistake, a trial at one of them fails."""
    assert (
        problems(write(tmp_path, searching("model.depth: {low: 2, high: 5}, model.blocks: [variant_1, variant_2]")))
        == []
    )


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("  objective: fdv\n", "search.objective: no objective 'fdv'; did you mean 'fvd'"),
        ("  objective: macs\n", "expected an objective that is measured"),
        ("  objective: [fvd, fvd]\n", "expected at least one objective, each once"),
        ("  pruning: medain\n", "'medain' is not a choice; did you mean 'median'?"),
        ("  pruning: {method: median, factor: 4}\n", "expected no factor with median"),
        ("  pruning: {method: median, first: 1500}\n", "expected a multiple of runtime.validate_every, which is 1000"),
        ("  pruning: median\n  objective: [fvd, macs]\n", "expected no pruning with several objectives"),
        ("  sampler: tpee\n", "'tpee' is not a choice; did you mean 'tpe'?"),
        ("  seeds: []\n", "expected at least one seed"),
        ("  budget: 5\n", "unknown key"),
    ],
)
def test_a_wrong_search_is_told(tmp_path: Path, more: str, words: str) -> None:
    path = write(tmp_path, searching("learning.ema_decay: {low: 0.5, high: 0.9}", more))
    assert words in one(problems(path), words)


def test_pruning_needs_a_loss_before_the_end(tmp_path: Path) -> None:
    path = write(tmp_path, searching("learning.ema_decay: {low: 0.5, high: 0.9}", "  pruning: median\n"))
    assert "no trial can be pruned" in one(problems(path, "learning.steps=500"), "search.pruning")
    assert problems(path, "learning.steps=500", "runtime.validate_every=100") == []


def test_trials_of_different_clips_are_trained_on_the_same_videos(tmp_path: Path) -> None:
    path = write(tmp_path, searching("data.interval: {low: 1, high: 4}", "  objective: fvd\n"))
    scored_alike = "scoring.real_interval=1"
    file, baseline = load_experiment(path, [scored_alike]), arms(path, scored_alike)["baseline"]
    trials = [resolve_trial(file, f"trial-{k}", {"data.interval": k}, baseline.spec).spec.data for k in (1, 2, 4)]
    assert [(data.shortest_video, data.least_frames) for data in trials] == [(13, 13), (13, 13), (None, 13)]


def test_a_trial_is_resolved_and_matched_like_an_arm(tmp_path: Path) -> None:
    path = write(tmp_path, TOY.replace("depth: 2", "depth: 8") + "match: {parameters: 25%}\n")
    file, baseline = load_experiment(path), arms(path)["baseline"]
    values = {"model.conditioning": "all_tokens", "learning.learning_rate": 0.0003}
    trial = resolve_trial(file, "trial-7", values, baseline.spec, count_for_matching)
    named = arms(path, "arms={same: {model.conditioning: all_tokens, learning.learning_rate: 0.0003}}")["same"]
    assert trial.identity == named.identity
    assert trial.spec.model.depth == named.spec.model.depth != baseline.spec.model.depth
    assert (trial.name, trial.axes) == (
        "trial-7",
        {"model.conditioning": "all_tokens", "learning.learning_rate": "0.0003"},
    )
    with pytest.raises(SpecError, match=r"model\.blocks: no blocks 'variant_9'"):
        resolve_trial(file, "trial-8", {"model.blocks": "variant_9"}, baseline.spec, count_for_matching)
    searched = f"{path.read_text()}search: {{space: {{model.depth: {{low: 2, high: 8}}}}}}\n"
    assert "match sets the depth itself" in one(problems(write(tmp_path, searched)), "search.space.model.depth")


def test_trials_have_names_that_no_arm_may_have(tmp_path: Path) -> None:
    path = write(tmp_path, TOY + "arms: {trial-3: {model.depth: 4}}\n")
    assert "is how a search calls its trials" in one(problems(path), f"{path}:5: arms.trial-3")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["screen.rungs=[1500]"], "1500 is no multiple of runtime.validate_every, which is 1000"),
        (["screen.rungs=[4000]"], "4000 is not before the end of training (learning.steps is 4000)"),
        (["screen.rungs=[3000, 1000]"], "expected steps in ascending order"),
        (["screen.rungs=[]"], "screen.rungs"),
        (["screen.keep=1.0"], "expected less than 1"),
        (
            ["ablate={diffusion.objective: [v_prediction]}"],
            "cannot be compared: they differ in diffusion",
        ),
    ],
)
def test_a_wrong_screen_is_told(tmp_path: Path, changes: list[str], words: str) -> None:
    path = write(tmp_path, f"{TOY}  {SCREEN}")
    assert problems(path) == []
    assert words in one(problems(path, *changes), words)
