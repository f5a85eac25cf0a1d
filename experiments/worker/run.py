"""One training and its evaluations end to end: train, sample, score, record. Run again, it resumes where it stopped.

`python -m experiments.worker.run FOLDER` is what every executor starts: the training's folder says all. Started several
times by torchrun or as tasks of one Slurm job, the processes share the work and rank 0 keeps the books.
"""

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

from experiments.record import machine_load, slurm_queue
from experiments.record.progress import Progress, plain_progress, silent
from experiments.record.recording import ClaimedError, Recorder
from experiments.record.snapshot import code_of, damage_here
from experiments.record.terminal import replace_what_cannot_be_shown
from experiments.training.devices import device_of
from experiments.training.processes import LostError, joined, leads, several
from experiments.worker.books import Books
from experiments.worker.stages import progress_of, run_stages, waiting
from experiments.worker.starting import IN_TURN
from experiments.worker.stopping import stop_requests
from registry.errors import Interrupted, RunError, SpecError
from registry.parts.start_files import checkpoints_in, step_of
from registry.runs.machine import ROOT, leave_garbage_at_the_end
from registry.runs.records import Result
from registry.runs.stored import read_events, read_spec
from registry.schema.spec import Spec


def run_training(
    training: Path, progress: Progress | None = None, requeue: Callable[[], bool] | None = None
) -> list[Result]:
    """Bring a training's evaluations that are wanted to their results, and return those that were made now.

    Evaluations that are asked for meanwhile are made as well; those that several processes are asked for while they
    part are left to whoever asked. Processes other than rank 0 return nothing.

    Args:
        training: its folder, which a launcher made.
        progress: is called with (what, done, in all).
        requeue: has Slurm start this job anew, and says whether that worked; called when its time is up.

    Raises:
        Interrupted: the process was asked to stop (a signal, or nobody wants it); what was computed is kept.
        ClaimedError: another process is running it.
        RunError: it failed in a way that is known; any other exception is recorded as well and passed on.
    """
    alone = not several()
    if not leads() or (not alone and not waiting(training)):  # the others are not left waiting for rank 0
        return _follow(training)
    made: list[Result] = []
    recorder = Recorder(training)
    while not alone or waiting(training):  # again, for what was asked for while the last attempt ended
        with (
            recorder.attempting(slurm_queue.hint) as attempt,
            recorder.beating(),
            machine_load.recorded(training),
            stop_requests(training, attempt) as stop,
        ):
            books = Books(recorder, attempt, stop, requeue)
            try:
                made += _lead(training, books, progress or silent)
            except ClaimedError:
                raise  # another process took this one for dead, and keeps the books now
            except (Interrupted, LostError, KeyboardInterrupt) as error:
                books.interrupted(error)
                raise
            except BaseException as error:
                books.failed(error)
                raise
        if books.failures:
            raise RunError("; ".join(books.failures))
        if not alone:
            break  # the others have parted
    return made


def _lead(training: Path, books: Books, progress: Progress) -> list[Result]:
    """Work, alone or with others, as the process that keeps the books."""
    spec = read_spec(training)
    _start(training, spec, books)
    if books.stop():
        raise Interrupted("before it began")
    with joined(device_of(spec)) as processes:
        try:
            with processes.explained():
                made = run_stages(training, spec, books.stop, progress, processes, books)
        except Interrupted as error:
            books.interrupted(error)
            processes.barrier()  # nobody leaves before it is noted, since launchers end the others then
            raise
        books.done()
    return made


def _follow(training: Path) -> list[Result]:
    """Work along with rank 0, which keeps the books; where nothing is wanted any more, all meet and part."""
    spec = read_spec(training)
    with stop_requests(training) as stop, joined(device_of(spec)) as processes:
        try:
            run_stages(training, spec, stop, silent, processes, None)
        except Interrupted:
            processes.barrier()
            raise
    return []


def _start(training: Path, spec: Spec, books: Books) -> None:
    """Note that the attempt begins, unless those before it have made no progress.

    Raises:
        RunError: `runtime.attempts` attempts in a row began where this one would, or the frozen code was changed.
    """
    progress = progress_of(training)
    earlier: list[list[int] | None] = []
    for event in read_events(training):
        if event.event == "started":
            earlier.append(event.progress)
        elif event.event in ("retry", "paused", "done"):
            earlier = []
    content = books.attempt.content
    about = {"host": content.host, "pid": content.pid, "job": content.job, "code": code_of(ROOT)}
    books.recorder.event("started", attempt=content.number, **about, progress=progress, command=sys.argv)
    most = spec.runtime.attempts
    if len(earlier) >= most and all(there == progress for there in earlier[-most:]):
        step = max((step_of(path) or 0 for path in checkpoints_in(training)), default=0)
        raise RunError(
            f"{most} attempts in a row came no further than step {step} and {progress[1]} files of samples "
            "(runtime.attempts); checkpoint more often (runtime.checkpoint_every), or give it more time or memory"
        )
    if damage := damage_here():
        raise RunError(f"the frozen code is not what was launched: {damage}; `retry` freezes it again")


def run_folder(training: Path, requeue: Callable[[], bool] | None = None) -> int:
    """Run the training of a folder, print how it ended, and return 0 done, 1 failed, 3 interrupted, 4 not ours.

    Args:
        training: its folder, which a launcher made.
        requeue: as in `run_training`.
    """
    replace_what_cannot_be_shown()
    threads = os.environ.get("OMP_NUM_THREADS")
    if threads:
        torch.set_num_threads(int(threads))
    try:
        made = run_training(training, plain_progress(), requeue)
    except (Interrupted, KeyboardInterrupt) as stopped:
        print(str(stopped) or "stopped at once")
        return 3
    except ClaimedError as error:
        print(error)
        return 4
    except (RunError, SpecError) as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    except Exception:
        traceback.print_exc()
        return 1
    for result in made:  # rank 0 speaks for all
        scores = ", ".join(f"{name} {value:.4g}" for name, value in result.scores.items())
        print(f"done: evaluation {result.evaluation} at step {result.step}: {scores}")
    return 0


def taken_up_again() -> bool:
    """Whether the job that takes this training in turn sees to it that it goes on: it does, or says if it cannot."""
    return True


if __name__ == "__main__":
    leave_garbage_at_the_end()
    sys.exit(run_folder(Path(sys.argv[1]), taken_up_again if IN_TURN in sys.argv[2:] else None))
