"""One evaluation of a training: its samples, their scores, and the result, written last."""

import shutil
import sys
import time
import traceback
from typing import Any

import torch

from components.assembly import Assembly
from components.data.prepare import Prepared
from experiments.record import code_digests
from experiments.record.machine_load import pace_now
from experiments.record.progress import Progress
from experiments.record.recording import Recorder, bound_code
from experiments.record.snapshot import code_of
from experiments.sampling.captions import captions_of
from experiments.sampling.previews import write_previews
from experiments.sampling.sample_files import files_of
from experiments.sampling.trainings import sample
from experiments.scores.kept_samples import drop_samples
from experiments.scores.real_clips import RealClips
from experiments.scores.scoring import how_measured, score
from experiments.training.checkpoints import damage_of, origin_of, path_of
from experiments.training.processes import InStepError, Processes
from experiments.training.validation import validation_at, validation_split_of
from registry.errors import RunError
from registry.runs.code_used import worked_on
from registry.runs.machine import ROOT
from registry.runs.records import Result
from registry.runs.replicate import Replicate
from registry.runs.stored import training_seconds


def can_be_evaluated(replicate: Replicate, prepared: Prepared) -> bool:
    """Return whether the checkpoint of an evaluation's step is there, and its validation losses are logged."""
    step = replicate.spec.step
    path = path_of(replicate.training, step)
    return not damage_of(path, origin_of(replicate, prepared)) and validation_at(replicate.training, step) is not None


def evaluate(
    replicate: Replicate, prepared: Prepared, stop: Any, progress: Progress, processes: Processes, attempt: int
) -> Result | None:
    """Sample and score a training at the evaluation's step, and write the result; only rank 0 returns it.

    Args:
        replicate: whose evaluation it is.
        prepared: the data.
        stop: asked after every batch, of all processes.
        progress: is called with (what, done, in all).
        processes: those that share the work.
        attempt: its number.

    Raises:
        Interrupted: `stop` answered yes; what was computed is kept.
        RunError: there is no checkpoint to sample from, clips could not be drawn or measured, or a metric failed; what
            the others measured is kept. An InStepError where several processes go on together.
    """
    spec, device, training = replicate.spec, processes.device, Recorder(replicate.training)
    began = time.monotonic()

    def beat(stage: str) -> None:
        if processes.is_first:
            training.heartbeat(stage=stage, step=spec.step, steps=spec.learning.steps)

    own = Recorder(replicate.folder)
    if processes.is_first:
        own.code(code_digests.used_now(spec, code_digests.of_evaluation(spec), attempt, _begun_at(replicate)))
    beat("sampling")
    sample(replicate, device, stop, progress, processes=processes)
    sampled = time.monotonic()
    beat("scoring")
    metrics = processes.made_by_each(lambda: Assembly(spec).metrics())
    folder = replicate.folder / "features"
    how = how_measured(spec, device, processes.local_world)
    scores, reference = score(
        spec,
        files_of(replicate, replicate.folder / "samples"),
        prepared,
        metrics,
        how,
        folder,
        progress,
        processes,
        stop,
    )
    if not processes.is_first:
        return None
    ended = time.monotonic()
    if not any(scores.values.keys() <= line.keys() for line in replicate.metrics()):  # an attempt that ended just here
        own.metrics(spec.step, scores.values)
    for problem in _preview(replicate, prepared):
        print(f"warning: {problem}", file=sys.stderr, flush=True)
    if scores.failed:  # the features stay, so that another try measures nothing again
        raise (RunError if processes.alone else InStepError)("; ".join(scores.failed))
    training_took = training_seconds(replicate.training, spec.step)
    spent = {"training": training_took, "sampling": sampled - began, "scoring": ended - sampled}
    result = Result(
        identity=replicate.identity,
        training=spec.training,
        evaluation=spec.evaluation,
        seed=replicate.seed,
        scores={**scores.values, **(validation_at(replicate.training, spec.step) or {})},
        score_details=scores.details(),
        protocol=spec.scoring.model_dump(mode="json"),
        protocols=scores.protocols,
        protocol_specs=scores.specs,
        step=spec.step,
        steps=spec.learning.steps,
        parameters=sum(p.numel() for p in Assembly(spec).model("meta").parameters()),
        validation_split=validation_split_of(spec, prepared),
        data_digest=prepared.digest,
        reference=str(reference),
        seconds=round(sum(spent.values()), 2),
        seconds_of={stage: round(seconds, 2) for stage, seconds in spent.items()},
        pace=pace_now(replicate.training),
        attempts=attempt,
        device=str(device),
        processes=processes.world,
        code=bound_code(replicate.training, code_of(ROOT)),
        made_by=worked_on(replicate.training, replicate.folder, spec.step),
    )
    own.result(result)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        drop_samples(replicate.folder / "samples", spec.runtime.keep_samples, replicate.folder / "result.json")
    except RunError as error:
        print(f"warning: {error}", file=sys.stderr, flush=True)
    return result


def _begun_at(replicate: Replicate) -> int:
    """Files of samples that earlier attempts have left, and bytes of features."""
    features = sum(path.stat().st_size for path in (replicate.folder / "features").rglob("*.npy"))
    return len(list((replicate.folder / "samples").glob("clips-*.npy"))) + features


def _preview(replicate: Replicate, prepared: Prepared) -> list[str]:
    """Write the previews of the samples; return what went wrong, a line each: no run fails because of a picture."""
    spec, folder = replicate.spec, replicate.folder
    # Experiments that share it show it too, each under its own name of the arm.
    title = f"seed {replicate.seed}, step {spec.step} (training {spec.training}, evaluation {spec.evaluation})"
    classes = prepared.classes if spec.model.classes else ()
    try:
        real = RealClips(spec, prepared)
        captions = captions_of(spec, replicate.training) if spec.data.text_encoder is not None else ()
        out = folder / "previews"
        return write_previews(folder / "samples", real, classes, out, title=title, captions=captions).problems
    except Exception as error:  # whatever it is, the scores are what the run is for
        traceback.print_exc()
        return [f"previews: {type(error).__name__}: {error}"]


def free(device: torch.device) -> None:
    """Give the memory of what was deleted back to the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
