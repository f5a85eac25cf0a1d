"""One replicate end to end: train, sample, score, record. Run again, it resumes where it stopped.

`python -m experiments.replicate RUN_DIR` is what every executor starts: the run folder says all.
"""

import contextlib
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from components.data.prepare import Prepared
from components.scoring.measuring import Measuring
from experiments.recording import ClaimedError, Recorder, machine
from experiments.sampling import sample
from experiments.scoring import score
from experiments.training import Interrupted, Trainer, train
from registry.assemble import Assembly
from registry.errors import RunError, SpecError
from registry.runs import Replicate, open_replicate, read_json
from registry.spec import Spec

Progress = Callable[[str, int, int], None]


def run_replicate(folder: Path, progress: Progress | None = None) -> dict[str, Any]:
    """Bring the replicate of a run folder to its result and return it; a finished one is not run again.

    Args:
        folder: a run folder that the launcher made.
        progress: is called with (what, done, in all).

    Raises:
        Interrupted: the process was asked to stop (SIGTERM, SIGINT); what was computed is kept.
        RunError: the run failed in a way that is known; any other exception is recorded as well and passed on.
    """
    replicate, recorder = open_replicate(folder), Recorder(folder)
    if replicate.state == "done":
        return replicate.result() or {}
    with recorder.claimed(), recorder.beating(), _stop_requests() as stop:
        if (finished := replicate.result()) is not None:  # by another process, while this one came to claim it
            return finished
        attempt = 1 + sum(event["event"] == "started" for event in replicate.events())
        began = time.monotonic()
        recorder.event("started", attempt=attempt, host=machine()["host"], pid=os.getpid(), command=sys.argv)
        try:
            result = _run(replicate, recorder, stop, progress or (lambda what, done, total: None), attempt)
        except (Interrupted, KeyboardInterrupt) as error:
            reason = str(error) or "stopped at once"
            recorder.event("interrupted", attempt=attempt, reason=reason, seconds=round(time.monotonic() - began, 2))
            raise
        except BaseException as error:
            recorder.event(
                "failed", attempt=attempt, error=f"{type(error).__name__}: {error}", traceback=traceback.format_exc()
            )
            raise
        recorder.event("done", attempt=attempt)
        return result


def _run(
    replicate: Replicate, recorder: Recorder, stop: Callable[[], bool], progress: Progress, attempt: int
) -> dict[str, Any]:
    began = time.monotonic()
    spec, device = replicate.spec, device_of(replicate.spec)
    prepared, cache = open_data(replicate)
    trainer = Trainer(replicate, prepared, cache, device)
    parameters = sum(p.numel() for p in trainer.model.parameters())
    validation, validation_split = train(trainer, stop, progress), trainer.validation_split
    del trainer
    trained = time.monotonic()
    recorder.heartbeat(stage="sampling", step=spec.learning.steps, steps=spec.learning.steps)
    sample(replicate, device, stop, progress)
    sampled = time.monotonic()
    recorder.heartbeat(stage="scoring", step=spec.learning.steps, steps=spec.learning.steps)
    metrics = Assembly(spec).metrics()
    folder = replicate.folder / "features"
    scores, reference = score(
        spec, replicate.folder / "samples", prepared, metrics, how_measured(spec, device), folder, progress
    )
    ended = time.monotonic()
    spent = {"training": trained - began, "sampling": sampled - trained, "scoring": ended - sampled}
    earlier = sum(event.get("seconds", 0.0) for event in replicate.events() if event["event"] == "interrupted")
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
    }
    if not any(scores.values.keys() <= line.keys() for line in replicate.metrics()):  # an attempt that ended just here
        recorder.metrics(spec.learning.steps, scores.values)
    if scores.failed:  # the features stay, so that another try measures nothing again
        raise RunError("; ".join(scores.failed))
    recorder.result(result)
    shutil.rmtree(folder, ignore_errors=True)
    return result


def how_measured(spec: Spec, device: torch.device) -> Measuring:
    """How a spec's clips are measured here: by as many processes as torch has threads, and fewer for few clips."""
    how = Measuring(spec.scoring, spec.plugins, str(device))
    at_once = how.processes_for(spec.sampling.clips)
    return replace(how, processes=min(at_once, torch.get_num_threads()) if device.type == "cpu" else at_once)


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
    assembly = Assembly(spec)
    prepared = Prepared(assembly.dataset(), Path(provenance["data"]["folder"]))
    if prepared.digest != provenance["data"]["digest"]:
        raise RunError(
            f"{prepared.folder}: the data changed since this replicate was launched; give the experiment another name"
        )
    data = spec.data
    cache = prepared.build_cache(assembly.autoencoder(), data.resolution, data.transform, data.antialias, data.flip > 0)
    return prepared, cache


@contextlib.contextmanager
def _stop_requests() -> Iterator[Callable[[], bool]]:
    """Turns SIGTERM and SIGINT into a question that the loops ask; the same signal a second time stops at once."""
    asked: list[int] = []

    def ask(number: int, frame: Any) -> None:
        if number in asked:  # on Ctrl-C the launcher's SIGTERM comes behind the terminal's SIGINT
            signal.default_int_handler(number, frame)
        asked.append(number)

    try:
        before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    except ValueError:  # not in the main thread: signals are somebody else's
        before = {}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def plain_progress(every_seconds: float = 10.0) -> Progress:
    """Progress as plain lines for a log, at most one in so many seconds."""
    last = [0.0]

    def show(what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - last[0] >= every_seconds or done == total:
            last[0] = now
            print(f"{time.strftime('%H:%M:%S')} {what} {done}/{total}", flush=True)

    return show


def main() -> int:
    """Run the folder named on the command line; 0 done, 1 failed, 3 interrupted, 4 another process has it."""
    folder = Path(sys.argv[1])
    threads = os.environ.get("OMP_NUM_THREADS")
    if threads:
        torch.set_num_threads(int(threads))
    try:
        result = run_replicate(folder, plain_progress())
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
    print("done:", ", ".join(f"{name} {value:.4g}" for name, value in result["scores"].items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
