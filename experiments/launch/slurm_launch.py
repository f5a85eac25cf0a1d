"""Launching on Slurm: what goes before the arrays and behind them, what would be submitted, and waiting for it."""

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from analysis import reports
from experiments.launch.launching import Launched, Watch, absolute, make_run_folders, wait
from experiments.launch.report import is_overridden, report_of
from experiments.launch.slurm_arrays import SlurmArrays, chunks, script
from experiments.plan.check import check
from experiments.plan.plan import Plan
from experiments.record import slurm_queue
from experiments.record.recording import bound_data, write_json
from experiments.record.snapshot import FOLDER as CODE
from experiments.record.snapshot import Snapshot, freeze
from experiments.record.states import in_state, startable, tasks_of
from registry import strict_yaml
from registry.errors import RunError
from registry.experiment.clusters import cluster_defaults
from registry.experiment.experiment_file import AXES
from registry.experiment.written import labelled
from registry.runs.files import write_atomically
from registry.runs.run_folder import FLOORS_FILE, Replicate
from registry.schema.resources import Shape


def wait_for_slurm(launched: Launched, watch: Watch, say: Callable[[str], None]) -> None:
    """Return when no replicate of a launch waits or runs any more and the job that reports is over.

    Args:
        launched: as `launch_slurm` gave it.
        watch: is called with the replicates and their states.
        say: takes a line when only the report is waited for.
    """
    wait(None, launched, watch)
    if launched.report is not None and slurm_queue.hint(launched.report) != "":
        say(f"waiting for the job that reports, {launched.report}")
        while slurm_queue.hint(launched.report) != "":
            time.sleep(2.0)


def defaults_here() -> Shape:
    """What the user's file says of the cluster that sbatch here submits to.

    Raises:
        RunError: Slurm does not answer.
        SpecError: the file is wrong.
    """
    return cluster_defaults(slurm_queue.cluster().name)


def launch_slurm(plan: Plan) -> Launched:
    """Submit every selected replicate that is missing or interrupted to Slurm, and return.

    Before them goes a job that prepares the data, where they are not prepared yet; behind them one that reports.

    Raises:
        RunError: Slurm does not answer, or refuses.
        SpecError: the plan, or the user's file of clusters, is wrong.
    """
    check(plan, with_data=True)
    arrays = arrays_of(plan, lambda: freeze(plan.runs, plan.file.path, bool(plan.file.experiment.plugins)))
    todo = make_run_folders(plan, arrays.snapshot.about())
    launched = Launched(todo)
    waiting = in_state(todo, startable)
    if not waiting:
        return launched
    if job := PreparingJob(plan).go_before(arrays, waiting):
        launched.jobs.append(f"{job}: prepares the data")
    refused: RunError | None = None
    try:
        launched.submitted = arrays.submit(waiting)
    except RunError as error:  # of a later array; those before it were accepted
        refused = error
    launched.jobs += [f"{sent.job}: {sent.tasks} trainings" for sent in arrays.sent]
    about = {"prepare": arrays.after, "arrays": [sent._asdict() for sent in arrays.sent], "report": None}
    write_json(arrays.launch_folder / "launch.json", about)
    try:
        if arrays.sent:
            after = f"afterany:{':'.join(sent.job for sent in arrays.sent)}"
            words = _frozen(plan, arrays.launch_folder) + (["--overridden"] if is_overridden(plan) else [])
            launched.report = arrays.submit_verb("report", words, after)
            place = reports.folder_of(plan.folder, report_of(plan))
            launched.jobs.append(f"{launched.report}: reports when they have ended, in {place}")
            write_json(arrays.launch_folder / "launch.json", {**about, "report": launched.report})
    finally:
        if refused is not None:
            raise refused
    return launched


def dry_run(plan: Plan, executor: str) -> list[str]:
    """What `launch` would do, a text each: for Slurm the batch scripts. Nothing is written or submitted."""
    waiting = in_state([absolute(replicate) for replicate in plan.work], startable)
    if executor != "slurm":
        return [f"would run {replicate.name}: {replicate.folder}" for replicate in waiting] or ["nothing to run"]
    check(plan, with_data=True)
    arrays = arrays_of(plan, lambda: Snapshot((plan.runs / CODE / "TREE").resolve(), "", False))
    resources = plan.file.experiment.resources
    texts = []
    if waiting and _unprepared(plan, waiting):
        texts.append(f"# a job that prepares the data\n{script(arrays.verb_executor('prepare'))}")
        arrays.after = "PREPARE"
    for number, chunk in enumerate(chunks(tasks_of(waiting), resources, arrays.cluster, arrays.defaults)):
        behind = f"ARRAY{chunk.behind}" if chunk.behind is not None else None
        tasks = len(chunk.tasks)
        names = ", ".join(task.name for task in chunk.tasks[:3]) + (", …" if tasks > 3 else "")
        about = f"# ARRAY{number}: {tasks} trainings: {names}"
        texts.append(f"{about}\n{script(arrays.executor(chunk, behind), tasks)}")
    if waiting:
        after = "afterany:" + ":".join(f"ARRAY{number}" for number in range(len(texts) - bool(arrays.after)))
        texts.append(f"# a job that reports when they have ended\n{script(arrays.verb_executor('report', after))}")
    return texts or ["nothing to submit"]


class PreparingJob:
    """The Slurm job that prepares the data before replicates that are submitted.

    Args:
        plan: what is launched.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan, self.job, self.log = plan, "", Path()

    def go_before(self, arrays: SlurmArrays, replicates: Sequence[Replicate]) -> str | None:
        """Let the next arrays wait for it while the data of replicates are not prepared; its id, if it is needed.

        Args:
            arrays: their executor.
            replicates: what is about to be submitted.

        Raises:
            RunError: it has ended without preparing them, or Slurm refuses it.
        """
        arrays.after = None
        over = bool(self.job) and slurm_queue.hint(self.job) == ""  # asked first: it may end while files are looked at
        if not _unprepared(self.plan, replicates):
            return None
        if not self.job:
            words = _frozen(self.plan, arrays.launch_folder)
            words += [word for pattern in self.plan.only for word in ("--only", pattern)]
            words += [word for pattern in self.plan.folders for word in ("--folder", pattern)]
            self.job, self.log = arrays.submit_verb("prepare", words), arrays.log_of("prepare")
        elif over:
            told = slurm_queue.endings([self.job]).get(self.job)
            if told is None or told.state != "COMPLETED":
                raise RunError(slurm_queue.failed_beside("prepares the data", self.job, told, self.log))
            return None  # another machine may see what it wrote a little before this one does
        arrays.after = self.job
        return self.job


def arrays_of(plan: Plan, snapshot: Callable[[], Snapshot]) -> SlurmArrays:
    """The Slurm executor of a plan.

    Args:
        plan: what is launched.
        snapshot: freezes the code; asked when the cluster has answered.

    Raises:
        RunError: Slurm does not answer.
        SpecError: the user's file of clusters is wrong.
    """
    cluster = slurm_queue.cluster()
    defaults = cluster_defaults(cluster.name)
    return SlurmArrays(plan.folder, plan.file.experiment.resources, cluster, defaults, snapshot())


def _frozen(plan: Plan, folder: Path) -> list[str]:
    """Words for a verb on the experiment as it is now, written to the launch's folder: the file may be edited later."""
    experiment = plan.file.experiment.model_dump(mode="json", exclude_none=True)
    data = experiment["base"].get("data")
    if isinstance(data, dict) and isinstance(data.get("path"), str):
        experiment["base"]["data"] = {**data, "path": str(Path(data["path"]).expanduser().resolve())}
    for section in AXES:
        axes = getattr(plan.file.experiment, section)
        experiment[section] = {
            key: list(map(_entry, axes[key], entries)) for key, entries in experiment[section].items()
        }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{plan.name}.yaml"
    write_atomically(path, strict_yaml.dump(experiment))
    return [str(path), "--runs", str(plan.runs.resolve())]


def _entry(entry: Any, plain: Any) -> Any:
    """An axis's entry as plain values, with its label where these would have another: a path that was relative, say."""
    label = labelled(entry)[1]
    return plain if labelled(plain)[1] == label else {"value": plain, "label": label}


def _unprepared(plan: Plan, replicates: Iterable[Replicate]) -> bool:
    """Whether something that replicates share has still to be made."""
    if set(plan.file.experiment.floors) - {"resampled"} and not (plan.folder / FLOORS_FILE).exists():
        return True
    return any(bound_data(replicate.training) is None for replicate in replicates)
