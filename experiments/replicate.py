"""One replicate end to end: train, sample, score, record. Run again, it resumes where it stopped.

`python -m experiments.replicate RUN_DIR` is what every executor starts: the run folder says all. Started several times
by torchrun or as tasks of one Slurm job, the processes share the work and rank 0 keeps the books.
"""

import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from components.data.prepare import Prepared
from components.scoring.measuring import Measuring
from experiments import slurm_queue
from experiments.processes import LostError, Processes, joined, leads
from experiments.recording import Attempt, ClaimedError, Recorder
from experiments.sampling import sample
from experiments.scoring import score
from experiments.snapshot import code_of
from experiments.stopping import Stop, stop_requests
from experiments.terminal import replace_what_cannot_be_shown
from experiments.training import Trainer, train
from registry.assemble import Assembly
from registry.attempts import read_json
from registry.errors import Interrupted, RunError, SpecError
from registry.runs import Replicate, open_replicate
from registry.spec import Spec

Progress = Callable[[str, int, int], None]


def run_replicate(
    folder: Path, progress: Progress | None = None, requeue: Callable[[], bool] | None = None
) -> dict[str, Any]:
    """Bring the replicate of a run folder to its result and return it; a finished one is not run again.

    Processes other than rank 0 return nothing.

    Args:
        folder: a run folder that the launcher made.
        progress: is called with (what, done, in all).
        requeue: has Slurm start this job anew, and says whether that worked; called when its time is up.

    Raises:
        Interrupted: the process was asked to stop (a signal, or control.json); what was computed is kept.
        ClaimedError: another process is running it.
        RunError: the run failed in a way that is known; any other exception is recorded as well and passed on.
    """
    if (finished := read_json(folder / "result.json")) is not None:
        open_replicate(folder)
        return finished
    if not leads():
        return _follow(open_replicate(folder))
    recorder = Recorder(folder)
    with recorder.attempting(slurm_queue.hint) as attempt, recorder.beating(), stop_requests(folder, attempt) as stop:
        if (finished := read_json(folder / "result.json")) is not None:  # by another process, while this one came
            return finished
        books = _Books(recorder, attempt, stop, requeue)
        try:
            return _lead(open_replicate(folder), books, progress or _silent)
        except ClaimedError:
            raise  # another process took this one for dead, and keeps the books now
        except (Interrupted, LostError, KeyboardInterrupt) as error:
            books.interrupted(error)
            raise
        except BaseException as error:
            books.failed(error)
            raise


class _Books:
    """What rank 0 notes of its attempt; how it ended is noted once.

    Args:
        recorder: of the run folder.
        attempt: this one.
        stop: why it may have to end.
        requeue: has Slurm start the job anew.
    """

    def __init__(self, recorder: Recorder, attempt: Attempt, stop: Stop, requeue: Callable[[], bool] | None) -> None:
        self.recorder, self.attempt, self.stop, self.requeue = recorder, attempt, stop, requeue
        self.began = time.monotonic()

    def interrupted(self, error: BaseException) -> None:
        """Note that it was asked to stop, and have the job started anew where its time was up."""
        if self.attempt.over:
            return
        self.stop()  # another process's signal may have come a moment before ours
        reason = str(error) or "stopped at once"
        why = f"{self.stop.reason}: {reason}" if self.stop.reason else reason
        again = self.stop.again and self.requeue is not None
        self._event(self.stop.how or "interrupted", reason=why, requeued=again)
        self.attempt.end(self.stop.how or "interrupted", again)  # before Slurm is asked, which ends this process
        if again and self.requeue is not None and not self.requeue():
            self._event("interrupted", reason=f"{why}; Slurm would not start the job anew", requeued=False)
            self.attempt.end("interrupted")

    def failed(self, error: BaseException) -> None:
        """Note what went wrong."""
        if not self.attempt.over:
            self._event("failed", error=f"{type(error).__name__}: {error}", traceback=traceback.format_exc())
            self.attempt.end("failed")

    def done(self) -> None:
        """Note that the result is written."""
        self._event("done")
        self.attempt.end("done")

    def _event(self, event: str, **details: Any) -> None:
        about = {"seconds": round(time.monotonic() - self.began, 2), "step": trained_steps(self.recorder.folder)}
        self.recorder.event(event, attempt=self.attempt.number, **about, **details)


def _lead(replicate: Replicate, books: _Books, progress: Progress) -> dict[str, Any]:
    """Work, alone or with others, as the process that keeps the books."""
    _start(replicate, books.recorder, books.attempt)
    if books.stop():
        raise Interrupted("before it began")
    with joined(device_of(replicate.spec)) as processes:
        try:
            with processes.explained():
                result = _run(replicate, books.stop, progress, processes, books.attempt.number)
        except Interrupted as error:
            books.interrupted(error)
            processes.barrier()  # nobody leaves before it is noted, since launchers end the others then
            raise
        books.done()
    return result


def _follow(replicate: Replicate) -> dict[str, Any]:
    """Work along with rank 0, which keeps the books."""
    with stop_requests(replicate.folder) as stop, joined(device_of(replicate.spec)) as processes:
        try:
            _run(replicate, stop, _silent, processes, 0)
        except Interrupted:
            processes.barrier()
            raise
    return {}


def _start(replicate: Replicate, recorder: Recorder, attempt: Attempt) -> None:
    """Note that the attempt begins, unless those before it have made no progress.

    Raises:
        RunError: `runtime.attempts` attempts in a row began where this one would.
    """
    progress = _progress(replicate)
    earlier: list[Any] = []
    for event in replicate.events():
        if event["event"] == "started":
            earlier.append(event.get("progress"))
        elif event["event"] in ("retry", "paused"):
            earlier = []
    about = {key: attempt.content[key] for key in ("host", "pid", "job")} | {
        "code": code_of(Path(__file__).parent.parent)
    }
    recorder.event("started", attempt=attempt.number, **about, progress=progress, command=sys.argv)
    most = replicate.spec.runtime.attempts
    if len(earlier) >= most and all(there == progress for there in earlier[-most:]):
        raise RunError(
            f"{most} attempts in a row came no further than step {progress[0]} and {progress[1]} files of samples "
            "(runtime.attempts); checkpoint more often (runtime.checkpoint_every), or give it more time or memory"
        )


def _progress(replicate: Replicate) -> list[int]:
    """How far the run folder is: trained steps, files of samples, bytes of measured features' marks."""
    samples = len(list((replicate.folder / "samples").glob("clips-*.npy")))
    features = sum(path.stat().st_size for path in (replicate.folder / "features").rglob("*.npy"))
    marked = sum(path.read_bytes().count(1) for path in (replicate.folder / "features").rglob(".*.done"))
    return [trained_steps(replicate.folder), samples, features + marked]


def trained_steps(folder: Path) -> int:
    """The step of a run folder's newest checkpoint, 0 without one."""
    return max((int(path.stem.removeprefix("step-")) for path in (folder / "checkpoints").glob("step-*.pt")), default=0)


def _silent(what: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


def _run(replicate: Replicate, stop: Stop, progress: Progress, processes: Processes, attempt: int) -> dict[str, Any]:
    began = time.monotonic()
    spec, device, recorder = replicate.spec, processes.device, Recorder(replicate.folder)
    prepared, cache = open_data(replicate)
    trainer = Trainer(replicate, prepared, cache, device, processes)
    parameters = sum(p.numel() for p in trainer.model.parameters())
    validation, validation_split = train(trainer, stop, progress), trainer.validation_split
    del trainer
    trained = time.monotonic()
    if processes.is_first:
        recorder.heartbeat(stage="sampling", step=spec.learning.steps, steps=spec.learning.steps)
    sample(replicate, device, stop, progress, processes=processes)
    sampled = time.monotonic()
    if processes.is_first:
        recorder.heartbeat(stage="scoring", step=spec.learning.steps, steps=spec.learning.steps)
    metrics = Assembly(spec).metrics()
    folder = replicate.folder / "features"
    how = how_measured(spec, device, processes.local_world)
    samples = replicate.folder / "samples"
    scores, reference = score(spec, samples, prepared, metrics, how, folder, progress, processes, stop)
    if not processes.is_first:
        return {}
    ended = time.monotonic()
    spent = {"training": trained - began, "sampling": sampled - trained, "scoring": ended - sampled}
    earlier = sum(event.get("seconds", 0.0) for event in replicate.events())
    result = {
        "experiment": replicate.experiment,
        "arm": replicate.arm,
        "seed": replicate.seed,
        "identity": replicate.identity,
        "scores": {**scores.values, **validation},
        "score_details": scores.details(),
        "protocol": spec.scoring.model_dump(mode="json"),
        "protocols": scores.protocols,
        "protocol_specs": scores.specs,
        "steps": spec.learning.steps,
        "parameters": parameters,
        "validation_split": validation_split,
        "data_digest": prepared.digest,
        "reference": str(reference),
        "seconds": round(earlier + ended - began, 2),
        "seconds_of": {stage: round(seconds, 2) for stage, seconds in spent.items()},
        "attempts": attempt,
        "device": str(device),
        "processes": processes.world,
    }
    if not any(scores.values.keys() <= line.keys() for line in replicate.metrics()):  # an attempt that ended just here
        recorder.metrics(spec.learning.steps, scores.values)
    if scores.failed:  # the features stay, so that another try measures nothing again
        raise RunError("; ".join(scores.failed))
    recorder.result(result)
    shutil.rmtree(folder, ignore_errors=True)
    return result


def how_measured(spec: Spec, device: torch.device, beside: int = 1) -> Measuring:
    """How a spec's clips are measured here: by as many processes as torch has threads, and fewer for few clips.

    Args:
        spec: of the replicate.
        device: where.
        beside: how many processes of the replicate are on this machine, and measure a share each.
    """
    how = Measuring(spec.scoring, spec.plugins, str(device))
    at_once = how.processes_for(spec.sampling.clips)
    most = torch.get_num_threads() if device.type == "cpu" else max(1, at_once // beside)
    return replace(how, processes=min(at_once, most))


def device_of(spec: Spec) -> torch.device:
    """The device that `runtime.device` means on this machine; RunError for cuda where there is none."""
    return device_named(spec.runtime.device, "runtime.device")


def device_named(wanted: str, key: str = "--device") -> torch.device:
    """The device that `auto`, `cpu` or `cuda` means on this machine.

    Raises:
        RunError: cuda is asked for where there is none.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise RunError(f"{key} is cuda, but torch finds no CUDA device here; take cpu or auto")
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wanted)


def open_data(replicate: Replicate) -> tuple[Prepared, Any]:
    """The prepared data set and latent cache that the launcher left for this replicate.

    Raises:
        RunError: they are gone, or the manifest is another one than when the run folder was made.
    """
    spec = replicate.spec
    provenance = read_json(replicate.folder / "provenance.json")
    if provenance is None:
        raise RunError(f"{replicate.folder}: has no provenance.json; launch the experiment again")
    if "data" not in provenance:
        raise RunError(f"{replicate.folder}: its data are not prepared yet; launch the experiment again")
    assembly = Assembly(spec)
    prepared = Prepared(assembly.dataset(), Path(provenance["data"]["folder"]))
    if prepared.digest != provenance["data"]["digest"]:
        raise RunError(
            f"{prepared.folder}: the data changed since this replicate was launched; give the experiment another name"
        )
    data = spec.data
    cache = prepared.build_cache(assembly.autoencoder(), data.resolution, data.transform, data.antialias, data.flip > 0)
    return prepared, cache


def plain_progress(every_seconds: float = 10.0) -> Progress:
    """Progress as plain lines for a log, at most one in so many seconds."""
    last = [0.0]

    def show(what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - last[0] >= every_seconds or done == total:
            last[0] = now
            print(f"{time.strftime('%H:%M:%S')} {what} {done}/{total}", flush=True)

    return show


def run_folder(folder: Path, requeue: Callable[[], bool] | None = None) -> int:
    """Run the replicate of a folder, print how it ended, and return 0 done, 1 failed, 3 interrupted, 4 not ours.

    Args:
        folder: a run folder that the launcher made.
        requeue: as in `run_replicate`.
    """
    replace_what_cannot_be_shown()
    threads = os.environ.get("OMP_NUM_THREADS")
    if threads:
        torch.set_num_threads(int(threads))
    try:
        result = run_replicate(folder, plain_progress(), requeue)
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
    if result:  # rank 0 speaks for all
        print("done:", ", ".join(f"{name} {value:.4g}" for name, value in result["scores"].items()))
    return 0


if __name__ == "__main__":
    sys.exit(run_folder(Path(sys.argv[1])))
