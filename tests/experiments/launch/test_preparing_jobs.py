"""Jobs that prepare data: what needs one, and what is looked at to find that out."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from experiments.launch import preparing_jobs
from experiments.launch.launching import make_run_folders
from experiments.launch.preparing import prepare_data, shared_by
from experiments.launch.preparing_jobs import PreparingJobs
from experiments.plan.plan import Plan
from experiments.plan.status import beside
from experiments.record import slurm_queue
from experiments.record.recording import bind_data, bound_data, write_json
from experiments.record.slurm_queue import Ending
from experiments.record.states import claim, newest_submission
from registry.runs.records import PreparedData
from tests.fixtures.toy_replicates import nothing, plan_of

ALIKE = ("floors=[]", "seeds=[0, 1, 2]", "ablate={model.blocks: [variant_1, variant_4]}")
APART = ("floors=[]", "seeds=[0, 1, 2]", "ablate={data.interval: [1, 2]}", "claim=[]")


class Sbatch:
    """Takes the jobs that prepare, and begins none of them."""

    def __init__(self, folder: Path) -> None:
        self.launch_folder = folder
        self.verbs: list[str] = []

    def submit_verb(self, verb: str, words: Any, log: str = "") -> str:
        self.verbs.append(verb)
        return str(len(self.verbs))


def jobs_of(plan: Plan) -> tuple[PreparingJobs, Sbatch]:
    sbatch: Any = Sbatch(plan.folder / "_launches" / "test")
    return PreparingJobs(sbatch, lambda line: None), sbatch


def bind(plan: Plan) -> None:
    """What a job that prepares data notes in the folders of the selected trainings."""
    for replicate in plan.replicates:
        bind_data(replicate.training, PreparedData(digest="d", folder=str(plan.runs), videos=16, autoencoder="pixels"))


def opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The run folders that are opened from now on."""
    found: list[Path] = []
    open_replicate = preparing_jobs.open_replicate
    monkeypatch.setattr(preparing_jobs, "open_replicate", lambda path: (found.append(path), open_replicate(path))[1])
    return found


@pytest.mark.parametrize(("overrides", "sent"), [(ALIKE, 0), (APART, 1)])
def test_what_trainings_share_is_looked_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: tuple[str, ...], sent: int
) -> None:
    first = plan_of(tmp_path, *overrides, "seeds=[0]", only=["baseline"])
    make_run_folders(first, {})
    bind(first)
    plan = plan_of(tmp_path, *overrides)
    todo = make_run_folders(plan, {})
    looked = opened(monkeypatch)
    jobs, sbatch = jobs_of(plan)
    assert jobs.prepare(plan, todo) == todo
    assert (len(looked), len(sbatch.verbs)) == (1, sent)  # only one folder says anything of its data
    bound = [replicate for replicate in todo if bound_data(replicate.training) is not None]
    assert bound == [replicate for replicate in todo if sent == 0 or replicate.arm == "baseline"]


ONE = ("seeds=[0]", "floors=[real_halves]", "ablate={}", "claim=[]")


def test_floors_of_another_protocol_need_a_job_and_those_that_come_to_nothing_no_second(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, *ONE)
    make_run_folders(plan, {})
    bind(plan)
    kinds = (("scoring.metrics=[]",), ("scoring.metrics=[kvd]",), ("scoring.metrics=[kvd]", "scoring.real_clips=6"))
    for changed in kinds:
        plan = plan_of(tmp_path, *ONE, *changed)
        todo = make_run_folders(plan, {})
        jobs, sbatch = jobs_of(plan)
        assert jobs.prepare(plan, todo) == todo  # nobody waits for floors
        assert sbatch.verbs == ["prepare"]
        prepare_data(plan, nothing)
        assert PreparingJobs.lacking(plan, todo) == []
    assert (
        PreparingJobs.lacking(plan_of(tmp_path, *ONE, *changed, "floors=[real_halves, reconstruction]"), todo) == todo
    )
    assert PreparingJobs.lacking(plan_of(tmp_path, *ONE, *changed, "floors=[resampled]"), todo) == []
    (plan.folder / "floors.json").unlink()
    assert PreparingJobs.lacking(plan, todo) == todo
    assert PreparingJobs.lacking(plan_of(tmp_path, *ONE, "scoring.metrics=[]"), todo) == todo


def test_what_data_follow_from_is_the_same_however_their_place_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to("videos")
    named = ("videos", "link", str(tmp_path / "videos"), "others")
    videos = [plan_of(tmp_path, "data.dataset=video_folder", f"data.path={name}").arms[0].spec for name in named]
    assert [shared_by(spec) == shared_by(videos[0]) for spec in videos] == [True, True, True, False]


def test_each_job_prints_into_a_file_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(tmp_path, *APART)
    jobs, sbatch = jobs_of(plan)
    monkeypatch.setattr(slurm_queue, "ask", lambda names: SimpleNamespace(hint=lambda job: "RUNNING"))
    monkeypatch.setattr(slurm_queue, "endings", lambda names: {name: Ending("FAILED", "1:0", "", "") for name in names})
    make_run_folders(plan, {"commit": "", "changed": False, "snapshot": ""})
    first, second = ([one for one in plan.replicates if one.arm == arm.name] for arm in plan.arms)
    jobs.prepare(plan, first)
    jobs.prepare(plan, second)
    assert jobs.sent == [{"job": "1", "log": "prepare.txt"}, {"job": "2", "log": "prepare-2.txt"}]
    assert sbatch.verbs == ["prepare", "prepare"]
    folder = sbatch.launch_folder
    write_json(folder / "launch.json", {"prepare": jobs.sent, "arrays": [], "report": None})
    (folder / "prepare.txt").write_text("Error: no such folder\n")
    (folder / "prepare-2.txt").write_text("prepared 16 videos\n")
    claim(plan.replicates, "slurm", folder.name)
    for replicate in plan.replicates:
        submission = newest_submission(replicate.training)
        assert submission is not None
        submission.end()
    told = beside(plan, [{"arm": one.arm, "seed": one.seed, "state": "missing"} for one in plan.replicates])
    assert ["no such folder" in line for line in told] == [True, False]
    assert ["prepared 16 videos" in line for line in told] == [False, True]
    write_json(folder / "launch.json", {"prepare": "1", "arrays": [], "report": None})
    assert len(beside(plan, [{"arm": one.arm, "seed": one.seed, "state": "missing"} for one in plan.replicates])) == 1
