"""Launching: prepare the data once, make the run folders, and run what is not done.

Missing and interrupted replicates are run, running ones are waited for, finished ones skipped, failed ones left to
`retry`. Nothing is cancelled by omission.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from components.data.clips import frames_needed
from components.data.prepare import Prepared, prepare
from components.scoring.measuring import Measuring
from experiments import floors
from experiments.plans import Plan, check
from experiments.recording import Recorder, code_state, create
from experiments.replicate import Progress, device_of, how_measured, open_data, run_replicate
from experiments.scoring import (
    planned_fake_clips,
    prepare_reference,
    real_videos,
    references_of,
    side_of,
    will_change_size,
)
from registry.assemble import Assembly
from registry.errors import SpecError
from registry.machine import usable_cores
from registry.runs import DATA_FOLDER, Replicate, claim_is_alive, read_floors
from registry.spec import Spec

Watch = Callable[[list[Replicate]], None]
POLL_SECONDS = 0.5


def prepare_data(plan: Plan, progress: Progress) -> dict[str, Prepared]:
    """Check the plan; index, cache and measure every data set that the selected arms use; returns them by arm name.

    Raises:
        RunError: nothing readable; the class count is not the model's.
        SpecError: a path or split that is wrong.
    """
    check(plan, with_data=True)
    root = plan.runs / DATA_FOLDER
    needs = sorted({need for arm in plan.selected for need in _needs(arm.spec)})
    by_identity: dict[str, Prepared] = {}
    found: dict[str, Prepared] = {}
    for arm in plan.selected:
        assembly = Assembly(arm.spec, plan.file.parts)
        dataset = assembly.dataset()
        key = str(dataset.identity())
        if key not in by_identity:
            by_identity[key] = prepare(
                dataset, root, needs, workers=max(1, (os.cpu_count() or 2) - 1), progress=progress
            )
        prepared = found[arm.name] = by_identity[key]
        _check_classes(plan, arm.name, arm.spec, prepared)
        data, device = arm.spec.data, device_of(arm.spec)
        prepared.videos("train", frames_needed(data.frames, data.interval))
        autoencoder = assembly.autoencoder().to(device)
        prepared.build_cache(autoencoder, data.resolution, data.transform, data.antialias, data.flip > 0, progress)
        metrics, how = assembly.metrics(), how_measured(arm.spec, device)
        prepare_reference(arm.spec, prepared, metrics, how, progress)
        _early_floors(plan, arm.spec, prepared, autoencoder, metrics, how, progress)
    return found


def _early_floors(
    plan: Plan, spec: Spec, prepared: Prepared, autoencoder: Any, metrics: list[Any], how: Measuring, progress: Progress
) -> None:
    """The floors that need no training, where the experiment's file does not have them yet."""
    owners = {"real_halves": "", "reconstruction": floors.owner(autoencoder)}
    have = {(r["floor"], r["of"], r["protocol"]) for r in read_floors(plan.folder)}
    protocols = floors.protocols_of(spec, prepared, metrics)
    wanted = [name for name in owners if name in plan.file.experiment.floors]
    missing = [name for name in wanted if any((name, owners[name], mark) not in have for mark in protocols)]
    if not missing:
        return
    videos = real_videos(spec, prepared)
    resized = will_change_size(spec, side_of(spec.scoring, "real", videos)[0])
    n_fake, folder = planned_fake_clips(spec), references_of(prepared)
    pool = floors.pool_of(spec.scoring, videos, n_fake, resized, metrics, how, folder, progress)
    if "real_halves" in missing:
        floors.add_floors(plan.folder, floors.real_halves(pool, metrics))
    if "reconstruction" in missing:
        found = floors.reconstruction(spec, autoencoder, pool, prepared, metrics, how, progress)
        floors.add_floors(plan.folder, found)


def _late_floor(plan: Plan, todo: list[Replicate], progress: Progress) -> None:
    """The samples of the first replicate that is done against samples of its checkpoint from other noise."""
    first = next((replicate for replicate in todo if replicate.state == "done"), None)
    if first is None or "resampled" not in plan.file.experiment.floors:
        return
    result = first.result() or {}
    have = {(r["of"], r["protocol"]) for r in read_floors(plan.folder) if r["floor"] == "resampled"}
    against_real = {mark for mark, bound in result["protocol_specs"].items() if "real" in bound}
    if any((floors.owner_of(first), mark) not in have for mark in against_real):
        prepared, _ = open_data(first)
        how = how_measured(first.spec, device_of(first.spec))
        metrics = Assembly(first.spec).metrics()
        floors.add_floors(plan.folder, floors.resampled(first, metrics, prepared, how, lambda: False, progress))


def _needs(spec: Spec) -> set[int]:
    intervals = spec.data.interval, spec.scoring.real_interval or 1
    return {frames_needed(spec.data.frames, intervals[0]), frames_needed(spec.scoring.frames or 1, intervals[1])}


def _check_classes(plan: Plan, arm: str, spec: Spec, prepared: Prepared) -> None:
    if spec.model.classes and spec.model.classes != len(prepared.classes):
        raise SpecError(
            f"{plan.file.place(('base', 'model', 'classes'))}: model.classes: arm {arm} has {spec.model.classes}, "
            f"the data has {len(prepared.classes)} ({', '.join(prepared.classes[:8]) or 'no class folders'})"
        )


def make_run_folders(plan: Plan, prepared: dict[str, Prepared]) -> list[Replicate]:
    """The run folder of every selected replicate, made or checked."""
    code = code_state()
    weights: dict[str, str] = {}  # autoencoder -> fingerprint: its weights are read once, not for every replicate
    for replicate in plan.replicates:
        data = prepared[replicate.arm]
        path = replicate.spec.data.path
        if path is not None:  # a job may start elsewhere
            absolute = replicate.spec.data.model_copy(update={"path": str(Path(path).expanduser().resolve())})
            spec = replicate.spec.model_copy(update={"data": absolute})
            replicate = Replicate(**{**vars(replicate), "spec": spec})
        about = {"digest": data.digest, "folder": str(data.folder.resolve()), "videos": len(data.records)}
        autoencoder = f"{replicate.spec.data.autoencoder} at {replicate.spec.data.resolution}"
        if autoencoder not in weights:
            weights[autoencoder] = Assembly(replicate.spec).autoencoder().fingerprint()
        about["autoencoder"] = weights[autoencoder]
        create(replicate, about, code)
    return plan.replicates


def launch(plan: Plan, executor: str, progress: Progress, watch: Watch) -> list[Replicate]:
    """Run every selected replicate that is missing or interrupted, and return when all are done or failed.

    Args:
        plan: what to launch.
        executor: `local` (a bounded pool of processes) or `debug` (in this process, the first failure is raised).
        progress: is called while data are prepared, and by `debug`.
        watch: is called with all replicates again and again while `local` runs.

    Raises:
        RunError: the data cannot be prepared.
        SpecError: the data do not fit the spec.
    """
    prepared = prepare_data(plan, progress)
    todo = make_run_folders(plan, prepared)
    if executor == "debug":
        for replicate in todo:
            if replicate.state in ("missing", "interrupted"):
                run_replicate(replicate.folder, progress)
    else:
        _run_pool(plan, todo, watch)
    _late_floor(plan, todo, progress)
    return todo


def retry(plan: Plan) -> list[Replicate]:
    """Mark the selected failed replicates as wanted again; they go on from their last checkpoint."""
    failed = [replicate for replicate in plan.replicates if replicate.state == "failed"]
    for replicate in failed:
        Recorder(replicate.folder).event("retry")
    return failed


def _run_pool(plan: Plan, todo: list[Replicate], watch: Watch) -> None:
    parallel = plan.file.experiment.resources.parallel or 1
    started: dict[int, subprocess.Popen[bytes]] = {}
    tried: set[int] = set()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # a terminated launcher ends as by Ctrl-C
    try:
        while True:
            for number, process in list(started.items()):
                if process.poll() is not None:
                    del started[number]
                    _note_silent_death(todo[number], process.returncode)
            for number, replicate in enumerate(todo):
                if len(started) >= parallel:
                    break
                if number not in started and number not in tried and replicate.state in ("missing", "interrupted"):
                    started[number] = _start(replicate, parallel, plan.file.path.parent)
                    tried.add(number)
            watch(todo)
            if not started and not any(replicate.state == "running" for replicate in todo):
                return
            time.sleep(POLL_SECONDS)
    except BaseException:
        for process in started.values():  # they write a checkpoint and end as interrupted
            process.terminate()
        for process in started.values():
            process.wait()
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _start(replicate: Replicate, parallel: int, beside: Path) -> subprocess.Popen[bytes]:
    threads = replicate.spec.runtime.threads or max(1, usable_cores() // parallel)
    root = Path(__file__).parent.parent
    search = [str(root), str(beside.resolve()), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "PYTHONPATH": os.pathsep.join(part for part in search if part),
    }
    command = [sys.executable, "-m", "experiments.replicate", str(replicate.folder.resolve())]
    with (replicate.folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            command, env=environment, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )


def _note_silent_death(replicate: Replicate, code: int) -> None:
    """Note the end of a process that could not: killed is interrupted, any other silent end has failed."""
    events = replicate.events()
    silent = not events or events[-1]["event"] == "started"
    if claim_is_alive(replicate.folder):  # another launcher's process has it; what it noted is not ours to judge
        return
    if code < 0 and silent:
        Recorder(replicate.folder).event("interrupted", reason=f"killed by signal {-code} (out of memory, or by hand)")
    elif code not in (0, 3, 4) and silent:
        Recorder(replicate.folder).event(
            "failed", error=f"the process ended with code {code}; see {replicate.folder / 'log.txt'}"
        )


def unfinished(todo: Iterable[Replicate]) -> list[str]:
    """One line for each replicate that failed or was interrupted: what happened, and what makes it go on."""
    lines = []
    for replicate in todo:
        state = replicate.state
        if state not in ("done", "running"):
            last: dict[str, Any] = next(iter(reversed(replicate.events())), {})
            why = last.get("error") or last.get("reason") or "it never started"
            on = "mend the cause, then `retry`" if state == "failed" else "the same command goes on from its checkpoint"
            lines.append(f"{replicate.name}: {state}: {why}; {on}")
    return lines


def describe_data(prepared: dict[str, Prepared]) -> list[str]:
    """What `prepare` made, a line each: folder, videos, classes, and what was rejected."""
    lines = []
    for data in {str(found.folder): found for found in prepared.values()}.values():
        classes = f", {len(data.classes)} classes" if data.classes else ""
        lines.append(f"wrote {data.folder}: {len(data.records)} videos{classes}, manifest {data.digest[:10]}")
        if data.rejected:
            lines.append(
                f"  {len(data.rejected)} entries in {data.folder / 'rejected.csv'}, "
                f"the first: {': '.join(data.rejected[0])}"
            )
    return lines
