"""The controller of a search, on replicates that train nothing: killed at any write, it loses and doubles nothing."""

import itertools
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest

from experiments.launch.controller import MOST_REFUSALS, Controller, Launched
from experiments.launch.executor import RefusedError
from experiments.plan.plan import Plan
from experiments.search import study as study_module
from experiments.search.goals import open_study
from experiments.search.searching import Searching
from experiments.search.study import JOURNAL, Study, Trial
from experiments.search.trials import Trials
from registry.errors import RunError, SpecError
from registry.runs.replicate import Replicate
from registry.schema.search import Dimension
from tests.fixtures.fake_runs import CODE, Cluster, Fuse, Killed, control, searching, starts_of

SEARCH = "{space: {learning.learning_rate: {low: 1e-4, high: 1e-1, log: true}}, sampler: random, trials: 8%s}"
PRUNED = ", pruning: {method: median, startup: 2}"


def outcome(rate: float, starts: int) -> float:
    """A loss, lower for lower rates; high rates fail, some of them the first time only."""
    if rate > 3e-2 or (rate > 1e-2 and starts == 1):
        raise RunError("the loss is not finite")
    return 100 * rate


def told(study: Study) -> list[tuple[Any, ...]]:
    """What a search found, trial by trial."""
    return [
        (t.values["learning.learning_rate"], t.state, t.scores, dict(t.reported), t.again_of) for t in study.trials()
    ]


def journal_of(folder: Path) -> list[dict[str, Any]]:
    text = (folder / "runs" / "toy" / "search" / JOURNAL).read_text()
    return [json.loads(line) for line in text.splitlines()]


def assert_sound(folder: Path, trials: list[Trial], budget: int) -> None:
    """Each trial told once, none lost, no replicate started twice but for a second chance."""
    endings = Counter(line["trial_id"] for line in journal_of(folder) if line["op_code"] == 6)
    assert endings == Counter(range(len(trials)))
    assert all(trial.state in ("complete", "pruned", "failed") for trial in trials)
    assert sum(trial.again_of is None for trial in trials) == budget
    second = Counter(trial.again_of for trial in trials if trial.again_of is not None)
    assert set(second.values()) <= {1}
    for trial in trials:
        if trial.state == "failed" and trial.again_of is None:
            assert trial.number in second, "a failed job is tried again"
        if trial.again_of is not None:
            assert trial.values == trials[trial.again_of].values
    starts = Counter({path.parent: starts_of(path.parent) for path in folder.glob("runs/toy/*/*/fake.json")})
    assert sum(starts.values()) == len(trials)
    assert max(starts.values()) <= 2
    assert len(starts) == budget


def test_a_search_runs_prunes_fails_and_tries_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = searching(tmp_path, SEARCH % PRUNED)
    study, said = control(plan, outcome, monkeypatch)
    trials = study.trials()
    assert_sound(tmp_path, trials, 8)
    states = Counter(trial.state for trial in trials)
    assert states["pruned"] >= 1
    assert states["complete"] >= 2
    assert states["failed"] >= 2, "the example has failures of both kinds"
    for trial in trials:
        rate = trial.values["learning.learning_rate"]
        folder = plan.folder / f"{trial.arm}-{trial.identity}" / "seed-0"
        if trial.state == "complete":
            assert trial.scores == (pytest.approx(100 * rate),)
        if trial.state == "pruned":
            reason = json.loads((folder / "desired" / "toy.json").read_text())["reason"]
            assert reason.startswith(f"pruned at step {max(trial.reported)} by median validation_loss")
            assert not (folder / "result.json").exists()
        if trial.state == "failed" and rate > 3e-2:
            assert trial.failed["why"] == f"{trial.arm} seed 0: RunError: the loss is not finite"
    assert study.best() == [min((t for t in trials if t.state == "complete"), key=lambda t: t.scores).number]
    assert any("will be tried again once" in line for line in said)


@pytest.mark.slow
@pytest.mark.parametrize(("how", "every"), [("after", 1), ("torn", 3)])
def test_killed_at_every_write_it_ends_as_undisturbed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, every: int
) -> None:
    whole, _ = control(searching(tmp_path / "whole", SEARCH % PRUNED), outcome, monkeypatch)
    for writes in itertools.count(0, every):
        folder = tmp_path / str(writes)
        plan = searching(folder, SEARCH % PRUNED)
        try:
            control(plan, outcome, monkeypatch, Fuse(writes, how))
        except Killed:
            study, _ = control(plan, outcome, monkeypatch)
            assert told(study) == told(whole)
            assert_sound(folder, study.trials(), 8)
        else:
            break
    assert writes > 30, "there were writes to die at"


def test_a_search_gives_up_where_no_job_is_taken_that_prepares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials whose data are there are submitted all the same."""
    plan = searching(tmp_path, SEARCH % ", parallel: 2")
    policy = Searching(plan, open_study(plan, writing=True), Trials(plan, CODE), lambda line: None)
    cluster = Cluster(Fuse(), lambda rate, starts: rate)
    asked: list[str] = []

    def prepare(self: Cluster, plan: Plan, replicates: Sequence[Replicate]) -> list[Replicate]:
        asked.append(plan.arms[0].name)
        if asked[0] != asked[-1] or refuses_all:
            raise RefusedError("sbatch refuses prepare")
        return list(replicates)

    monkeypatch.setattr(Cluster, "prepare", prepare)
    refuses_all = False
    assert [replicate.arm for replicate in policy.next(cluster).start] == ["trial-0"]
    refuses_all, said = True, list[str]()
    with pytest.raises(RefusedError, match="sbatch refuses prepare"):
        Controller(cluster, Launched([]), lambda shown, states: None, said.append).run(policy)
    assert said == ["sbatch refuses prepare; will be tried again"] * (MOST_REFUSALS - 1)
    assert asked == ["trial-0", "trial-1"] * (1 + MOST_REFUSALS)


def test_killed_again_and_again_with_many_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = searching(tmp_path, SEARCH % ", parallel: 3")
    for writes in itertools.cycle((2, 5, 3, 4)):
        try:
            study, _ = control(plan, outcome, monkeypatch, Fuse(writes, "after"))
        except Killed:
            continue
        break
    assert_sound(tmp_path, study.trials(), 8)
    running = most = 0
    for line in journal_of(tmp_path):
        running += (line["op_code"] == 4) - (line["op_code"] == 6)
        most = max(most, running)
    assert (running, most) == (0, 3)


@pytest.mark.parametrize(
    ("sampler", "objective"),
    [
        ("random", "fvd"),
        ("tpe", "validation_loss"),
        ("tpe", "[fvd, macs]"),
        ("nsga2", "[fvd, macs]"),
        ("gp", "validation_loss"),
    ],
)
def test_every_proposal_follows_from_the_journal_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sampler: str, objective: str
) -> None:
    text = (
        "{space: {learning.learning_rate: {low: 1e-4, high: 1e-2, log: true}, model.depth: [2, 4], "
        f"learning.ema_decay: {{low: 0.1, high: 0.9}}}}, objective: {objective}, sampler: {sampler}, "
        "trials: 13, parallel: 2}"
    )
    plan = searching(tmp_path, text)
    study, _ = control(plan, lambda rate, starts: rate, monkeypatch)
    trials = study.trials()
    assert len({tuple(trial.values.items()) for trial in trials}) > 5
    path = plan.folder / "search" / JOURNAL
    lines = path.read_bytes().splitlines(keepends=True)
    made = [number for number, line in enumerate(lines) if json.loads(line)["op_code"] == 4]
    for trial, before in zip(trials, made, strict=True):
        path.write_bytes(b"".join(lines[:before]))
        assert open_study(plan).propose().values == trial.values
        assert path.read_bytes() == b"".join(lines[:before]), "who only looks writes nothing"


@pytest.mark.parametrize("method", ["median", "halving"])
def test_every_judgement_follows_from_the_journal_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    text = SEARCH.replace("trials: 8", "trials: 10") % f", parallel: 3, pruning: {method}"
    plan = searching(tmp_path, text)
    study, _ = control(plan, lambda rate, starts: rate, monkeypatch)
    judged = {trial.number: trial.judged for trial in study.trials()}
    assert any(one["stop"] for one in judged.values())
    assert any(not one["stop"] for one in judged.values())
    path = plan.folder / "search" / JOURNAL
    lines = path.read_bytes().splitlines(keepends=True)
    for number, line in enumerate(lines):
        record = json.loads(line)
        if "judged" in record.get("user_attr", {}):
            path.write_bytes(b"".join(lines[:number]))
            stop = open_study(plan, writing=True).judge(record["trial_id"], 3)
            assert stop == record["user_attr"]["judged"]["stop"]


def test_a_spec_that_was_run_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = searching(tmp_path, "{space: {model.depth: [2, 4]}, sampler: random, trials: 9}")
    study, _ = control(plan, lambda rate, starts: rate, monkeypatch)
    trials = study.trials()
    assert [trial.state for trial in trials] == ["complete"] * 9
    assert len({trial.arm for trial in trials}) == 2
    assert "baseline" in {trial.arm for trial in trials}, "the file's own arm is one of the two"
    assert sum(starts_of(path.parent) for path in plan.folder.glob("*/*/fake.json")) == 2


def test_an_arm_of_the_file_is_never_pruned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "{space: {learning.learning_rate: [1e-3, 1e-4, 2e-4, 3e-4, 4e-4]}, sampler: random, trials: 12, pruning: %s}"
    plan = searching(tmp_path, text % "{method: median, startup: 1}", "learning.learning_rate=1e-3")
    study, _ = control(plan, lambda rate, starts: rate, monkeypatch)
    worst = [trial for trial in study.trials() if trial.values["learning.learning_rate"] == 1e-3]
    assert {trial.arm for trial in worst} == {"baseline"}
    assert {trial.state for trial in worst} == {"complete"}
    assert any(trial.state == "pruned" for trial in study.trials())
    assert plan.replicates[0].state == "done"
    assert plan.orphans() == [], "trials are no orphans of the file"


def test_what_does_not_go_together_fails_and_is_kept_away_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "{space: {model.depth: [2, 3, 5], learning.ema_decay: {low: 0.1, high: 0.9}}, trials: 12}"
    plan = searching(tmp_path, text)
    study, _ = control(plan, lambda rate, starts: rate, monkeypatch)
    trials = study.trials()
    assert sum(trial.state == "complete" for trial in trials) == 12
    unsound = [trial for trial in trials if trial.state == "failed"]
    assert unsound
    assert {trial.values["model.depth"] for trial in unsound} <= {3, 5}
    assert all("depth must be even" in trial.failed["why"] for trial in unsound)
    assert not any(trial.again_of is not None for trial in trials)
    assert len(unsound) < 30, "a sampler that learns nothing from failures would fail twice as often as not for ever"


def test_a_score_that_is_not_finite_fails_the_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = searching(tmp_path, "{space: {learning.ema_decay: {low: 0.1, high: 0.9}}, objective: fvd, trials: 2}")
    study, _ = control(plan, lambda rate, starts: float("nan"), monkeypatch)
    assert [(trial.state, trial.failed["why"]) for trial in study.trials()] == [("failed", "fvd is nan")] * 2


def test_another_base_or_objective_is_another_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    control(searching(tmp_path, SEARCH % ""), outcome, monkeypatch)
    changed = {
        "base.learning.batch_size: 4 then, 8 now": ["learning.batch_size=8"],
        "objectives": ["search.objective=fvd"],
        "seeds: [0] then, [1] now": ["search.seeds=[1]"],
        "space.learning.ema_decay: None then, a span of numbers now": [
            "search.space={learning.ema_decay: {low: 0.1, high: 0.9}}"
        ],
        "a span of numbers, log then, a span of numbers now": ["search.space={learning.learning_rate: {log: false}}"],
    }
    for words, overrides in changed.items():
        with pytest.raises(SpecError, match="cannot be compared with new ones") as refused:
            open_study(searching(tmp_path, SEARCH % "", *overrides), writing=True)
        assert any(words in line for line in refused.value.problems), refused.value.problems
    more = searching(tmp_path, SEARCH % "", "search.trials=10", "search.sampler=tpe", "runtime.threads=2",
                     "search.space={learning.learning_rate: {low: 1e-5, high: 1e-2, log: true}}")  # fmt: skip
    study, _ = control(more, outcome, monkeypatch)
    assert_sound(tmp_path, study.trials(), 10)


def test_optuna_reads_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own tools, such as its dashboard, see the same trials."""
    study, _ = control(searching(tmp_path, SEARCH % PRUNED), outcome, monkeypatch)
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "runs/toy/search" / JOURNAL))
    theirs = optuna.load_study(study_name="toy", storage=optuna.storages.JournalStorage(backend))
    for trial, other in zip(study.trials(), theirs.trials, strict=True):
        assert other.user_attrs["arm"] == trial.arm
        assert other.user_attrs["overrides"] == {
            "learning.learning_rate": f"{other.params['learning.learning_rate']:g}"
        }
        assert other.user_attrs["folder"] == f"{trial.arm}-{trial.identity}"


def test_numbers_on_a_grid_stay_on_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = "{learning.learning_rate: {low: 0.015625, high: 0.125, step: 0.0078125}}"
    plan = searching(tmp_path, f"{{space: {grid}, objective: validation_loss, trials: 4, sampler: random, seed: 1}}")
    study, _ = control(plan, lambda rate, seed: rate, monkeypatch)
    assert [trial.state for trial in study.trials()] == ["complete"] * 4
    values = [trial.values["learning.learning_rate"] for trial in study.trials()]
    assert all(value / 0.0078125 % 1 == 0 for value in values)
    assert any(float(f"{value:.6g}") != value for value in values), "six digits would leave the grid"
    tenths = Dimension(low=0.1, high=1.0, step=0.1)
    assert study_module._short(tenths, 0.1 + 2 * 0.1) == 0.3
