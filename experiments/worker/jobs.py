"""What Slurm's tasks run: importable, called with plain arguments, able to be started anew at any time."""

import os
import runpy
import signal
import sys
from pathlib import Path
from typing import Any

from experiments.record import slurm_queue
from experiments.record.states import newest_submission
from registry.runs.attempts import this_job
from registry.runs.machine import ROOT, leave_garbage_at_the_end


class Task:
    """A callable that submitit starts anew from its arguments when the job's time is up: all state is in files."""

    def __call__(self, *arguments: str) -> None:
        raise NotImplementedError

    def checkpoint(self, *arguments: str) -> Any:
        """What submitit asks for before it requeues the job: the same call again."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, *arguments)


class TrainingTask(Task):
    """Brings one training and its evaluations to their results; every process of a job of several tasks runs it.

    It takes the training's folder and the number of its submission. A job that was superseded ends: a launcher may have
    died between sbatch and noting the job, and the training have been submitted again.
    """

    def __call__(self, *arguments: str) -> None:
        folder, number = Path(arguments[0]), int(arguments[1])
        rank = int(os.environ.get("SLURM_PROCID", 0))
        _write_to(folder / ("log.txt" if rank == 0 else f"log-{rank}.txt"))
        newest = newest_submission(folder)
        if newest is not None and newest.number > number:
            return print(f"submission {number} of {folder} was superseded by submission {newest.number}; this job ends")
        if rank == 0 and newest is not None and newest.number == number and newest.content.job is None:
            newest.sent(this_job() or "")
        from experiments.worker.run import run_folder

        leave_garbage_at_the_end()
        end_as(run_folder(folder, requeue_this))


class VerbTask(Task):
    """Is the command line, its output in a file: `prepare` before the trainings, `report` after them."""

    def __call__(self, *arguments: str) -> None:
        log, *words = arguments
        _write_to(Path(log))
        program = str(ROOT / "run.py")
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # submitit's own would pass it over
        sys.argv, sys.orig_argv = [program, *words], [sys.executable, program, *words]  # which hints begin with
        try:
            runpy.run_path(program, run_name="__main__")
        except SystemExit as ended:
            if ended.code:
                raise
        end_as(0)


def requeue_this() -> bool:
    """Have Slurm start this job anew."""
    job = this_job()
    return job is not None and slurm_queue.requeue(job)


def _write_to(path: Path) -> None:
    """From here on this process and its children print into a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    with path.open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)


def end_as(code: int) -> None:
    """End this process as the work ended.

    SystemExit passes through submitit, which would write an exception for nobody to read.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    if code:
        sys.exit(code)
