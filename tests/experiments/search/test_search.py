"""A search that trains: its trials are ordinary replicates, and what it finds is what they say."""

from pathlib import Path

import pytest

from experiments.record.lease import leased
from experiments.search.results import for_figures, summary
from experiments.search.screening import Rungs, launch_screened
from experiments.search.searching import run_search
from experiments.search.watched import Watching
from registry.errors import RunError
from registry.runs.replicate import open_replicate
from tests.experiments.search.screened_toys import Killed, screened, states_of
from tests.fixtures.fake_runs import searching
from tests.fixtures.toy_replicates import nothing

SEARCH = """
  space: {learning.learning_rate: {low: 1e-4, high: 1e-2, log: true}, model.blocks: [variant_1, variant_4]}
  objective: [validation_loss, {metric: macs, direction: max}]
  sampler: random
  seeds: [0, 1]
  trials: 2
"""


def unwatched(*words: object) -> None:
    """Nobody watches."""


def test_trials_are_replicates_with_every_seed(tmp_path: Path) -> None:
    plan = searching(tmp_path, SEARCH)
    said: list[str] = []
    study, todo = run_search(plan, "debug", nothing, unwatched, said.append)
    trials = study.trials()
    assert [trial.state for trial in trials] == ["complete"] * 2
    assert [replicate.name for replicate in todo] == [f"trial-{n} seed {seed}" for n in (0, 1) for seed in (0, 1)]
    for trial in trials:
        own = [open_replicate(replicate.folder) for replicate in todo if replicate.arm == trial.arm]
        assert {replicate.identity for replicate in own} == {trial.identity}
        assert {replicate.spec.learning.learning_rate for replicate in own} == {trial.values["learning.learning_rate"]}
        assert {replicate.spec.model.blocks.name for replicate in own} == {trial.values["model.blocks"]}
        results = [replicate.result() for replicate in own]
        losses = [result.scores["validation_loss"] for result in results if result]
        assert trial.scores[0] == pytest.approx(sum(losses) / 2)
    found = summary(plan, study)
    assert found["objectives"] == {"validation_loss": "min", "macs": "max"}
    assert [row["state"] for row in found["trials"]] == ["complete"] * 2
    frame = for_figures(plan, found)["trials"]
    assert frame["learning.learning_rate"].tolist() == pytest.approx(
        [trial.values["learning.learning_rate"] for trial in trials]
    )
    assert plan.folder.joinpath("floors.json").exists() is False, "trials measure no floors of the experiment"

    before = {path: path.stat().st_mtime_ns for path in plan.folder.glob("trial-*/**/*")}
    again, _ = run_search(plan, "debug", nothing, unwatched, said.append)
    assert again.trials() == trials
    assert {path: path.stat().st_mtime_ns for path in plan.folder.glob("trial-*/**/*")} == before

    with leased(plan.folder / "search" / "controllers", patience=0), pytest.raises(RunError, match="is at work there"):
        run_search(plan, "debug", nothing, unwatched, said.append)


def test_a_trial_that_is_an_arm_which_pauses_at_a_rung_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    search = "{space: {learning.learning_rate: [5e-3, 1e-5]}, objective: validation_loss, trials: 1, seeds: [0]}"
    plan = screened(tmp_path, f"screen: {{rungs: [3], keep: 0.5}}\nsearch: {search}")

    def killed(*words: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Rungs, "write", killed)
        with pytest.raises(Killed):
            launch_screened(plan, "debug", Watching(nothing, unwatched, unwatched))
    assert set(states_of(plan).values()) == {"paused"}
    study, _ = run_search(plan, "debug", nothing, unwatched, unwatched)
    (trial,) = study.trials()
    assert trial.state == "complete"
    assert states_of(plan) == {arm: "done" if arm == trial.arm else "paused" for arm in states_of(plan)}
