"""A sweep of small replicates that last as long as a test likes, driven by the command line as a user would."""

from pathlib import Path
from typing import Any

from experiments.plan.loading import load_plan
from experiments.plan.plan import Plan
from experiments.tracking import mlflow_sync
from registry.runs.records import Result
from registry.runs.replicate import Replicate
from tests.cli.command import run
from tests.slurm.clusters import Cluster
from tests.waiting import until

# Part of the environment, not of the science: seconds that a step waits, and the folder with the files that hold arms.
PACE, HOLDS = "SWEEP_PACE", "SWEEP_HOLDS"

PLUGIN = '''
import os
import time

from components.data.autoencoders.pixels import Pixels
from registry.parts.catalogue import part
from registry.schema.parameter_types import PositiveInt


@part("autoencoder", "patient_pixels")
class PatientPixels(Pixels):
    """As pixels, but takes its time to decode what was sampled.

    Source: none, for tests
    Official code: no
    """

    def __init__(self, resolution: int, *, factor: PositiveInt = 4) -> None:
        super().__init__(resolution, factor=factor)

    def decode(self, latents):
        time.sleep(float(os.environ.get("SWEEP_PACE", 0)))
        return super().decode(latents)


@part("lr_schedule", "patient")
class Patient:
    """The same learning rate throughout, after a pause; raises at a step, if it is told to.

    From step 8 on a step waits for five seconds for as long as there is a file of the name `hold`: long enough for
    whatever is to happen to it meanwhile, and short enough to take note of signals.

    Source: none, for tests
    Official code: no
    """

    def __init__(self, steps: int, *, raise_at: int = -1, hold: str = "") -> None:
        self.raise_at = raise_at
        holds = os.environ.get("SWEEP_HOLDS", "")
        self.hold = os.path.join(holds, hold) if holds and hold else ""

    def factor(self, step: int) -> float:
        time.sleep(float(os.environ.get("SWEEP_PACE", 0)))
        end = time.monotonic() + 5
        while self.hold and step >= 8 and time.monotonic() < end and os.path.exists(self.hold):
            time.sleep(0.05)
        if step == self.raise_at:
            raise ValueError("a step too far")
        return 1.0
'''

EXPERIMENT = """
name: sweep
plugins: [sweep_parts]
base:
  model: {width: 16, heads: 2, depth: 2, patch: 2, classes: 2}
  data:
    dataset: {name: moving_shapes, videos: 16, length: 8}
    resolution: 16
    frames: 4
    interval: 1
    autoencoder: {name: patient_pixels, factor: 4}
  diffusion: {objective: v_prediction}
  learning:
    {steps: 40, batch_size: 4, learning_rate: 1e-3, ema_decay: 0.5, clip_norm: 1.0, clip_from: 1, lr_schedule: patient}
  sampling: {sampler: {name: ddim, steps: 2}, clips: 6}
  scoring: {real_clips: 8}
  runtime:
    {device: cpu, log_every: 2, validate_every: 10, checkpoint_every: 5, sampling_batch: 1, threads: 1, attempts: 50}
floors: [real_halves]
"""


class Sweep:
    """An experiment file of its own, its runs beside it.

    Args:
        folder: where both lie.
        rest: the rest of the file: arms, seeds, resources.
        cluster: where its jobs go.
        pace: seconds that a step waits.
    """

    def __init__(self, folder: Path, rest: str, cluster: Cluster, pace: float) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.cluster, self.pace = cluster, pace
        self.file, self.runs, self.holds = folder / "sweep.yaml", folder / "runs", folder / "holds"
        self.holds.mkdir()
        self.file.write_text(EXPERIMENT + rest, encoding="utf-8")
        (folder / "sweep_parts.py").write_text(PLUGIN, encoding="utf-8")

    def verb(self, verb: str, *words: str, runs: Path | None = None, pace: float | None = None, code: int = 0) -> str:
        """What a verb prints on both streams; it must exit with `code`."""
        pauses = {PACE: str(self.pace if pace is None else pace), HOLDS: str(self.holds)}
        told = run(verb, self.file, "--runs", runs or self.runs, *words, **self.cluster.environment, **pauses)
        if told.code != code:
            raise AssertionError(f"{verb} {' '.join(words)} ended with {told.code}:\n{told.out}{told.err}")
        return told.out + told.err

    def plan(self, *overrides: str, runs: Path | None = None) -> Plan:
        return load_plan(self.file, overrides, runs or self.runs)

    def hold(self, arm: str) -> None:
        """Have an arm whose schedule has `hold: ARM` train no further than a few steps, until it is released."""
        (self.holds / arm).touch()

    def release(self, arm: str) -> None:
        (self.holds / arm).unlink()

    def rows(self, *words: str) -> dict[str, dict[str, Any]]:
        """The rows of `status` by replicate: "ARM seed N"."""
        words = ("--runs", str(self.runs), *words, "--format", "json")
        told = run("status", self.file, *words, **self.cluster.environment)
        assert told.code == 0, told
        return {f"{row['arm']} seed {row['seed']}": row for row in told.json["replicates"]}

    def jobs(self) -> dict[str, str]:
        """State by job id of the jobs of sweeps, other than those of other tests."""
        return self.cluster.queue("sweep", "sweep-prepare", "sweep-report")

    def until_over(self, *words: str) -> dict[str, dict[str, Any]]:
        """Wait until no replicate waits or runs and no job is left; returns the rows."""
        until(lambda: not self.jobs(), "all jobs have ended")
        rows = self.rows(*words)
        going = [name for name, row in rows.items() if row["state"] in ("queued", "running")]
        assert not going, f"no job is left, but status says of {going} that they wait or run"
        return rows

    def undisturbed(self, *words: str) -> Path:
        """Runs of the same replicates on this machine, without pauses and without harm."""
        runs = self.file.parent / "undisturbed"
        self.verb("launch", "--executor", "local", *words, runs=runs, pace=0)
        return runs


def unequal_scores(one: Result | None, other: Result | None) -> list[str]:
    """In what two results differ, digit by digit: names of scores."""
    left, right = (result.scores if result else {} for result in (one, other))
    if not left or not right:
        return ["there is no result"]
    return [name for name in sorted({*left, *right}) if repr(left.get(name)) != repr(right.get(name))]


def points_of_file(replicate: Replicate) -> dict[tuple[str, int], float]:
    """(metric, step) -> value of a replicate's files, by the names that MLflow has for them."""
    from experiments.tracking import overview, run_contents

    resolved = overview.resolved_of(replicate.link.parents[1], {replicate.identity})
    return {key: value for key, (value, _) in run_contents.metrics_of(replicate, resolved).points().items()}


def points_of_mlflow(plan: Plan, replicate: str) -> list[tuple[tuple[str, int], float]]:
    """Every metric point that MLflow holds of a replicate, given by its tag "identity/seed-N"; doubled ones twice."""
    client = mlflow_sync._client(f"sqlite:///{(plan.runs / 'mlflow.db').resolve()}")
    experiment = client.get_experiment_by_name(plan.name)
    (run,) = client.search_runs([experiment.experiment_id], f"tags.replicate = '{replicate}'")
    return [
        ((key, point.step), point.value)
        for key in run.data.metrics
        for point in client.get_metric_history(run.info.run_id, key)
    ]
