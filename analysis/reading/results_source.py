"""Where the results of one experiment are read from, as `ExperimentResults` asks for them."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from analysis.figures.sample_videos import SampleVideos
from registry.runs.records import State
from registry.runs.replicate import Replicate
from registry.runs.resolved_experiment import ResolvedArm
from registry.schema.spec import Spec


class ResultsSource(Protocol):
    """Run folders, or MLflow."""

    @property
    def place(self) -> str:
        """Return how the source is named to people."""

    @property
    def folder(self) -> Path:
        """Return the experiment's folder among the runs, on the machine where it was made."""

    @property
    def history(self) -> Path:
        """Return the folder with the looks and the given seeds, as that of the experiment has them."""

    @property
    def unwritten(self) -> str:
        """Return why a new look is not written down there; empty: it is."""

    def owners(self) -> Collection[tuple[str, int]]:
        """Return arm and seed of every replicate that is there, in the order of arms and seeds."""

    def rows(self, step: int | None) -> Iterator[dict[str, Any]]:
        """Yield every arm and seed as `analysis.results.results_frame.load` takes it, whether it is there or not.

        Args:
            step: an earlier one of `evaluate_at`, then only of the arms that are evaluated there; None is the step
                where arms are compared.
        """

    def specs(self) -> dict[str, Spec]:
        """Return the spec of each arm of which there is a replicate."""

    def curves(self, metrics: Sequence[str]) -> pd.DataFrame:
        """Return what trainings logged, as `analysis.results.curves.curves` does."""

    def floors(self) -> list[dict[str, Any]]:
        """Return the noise floors of the experiment as plain values."""

    def samples(self, arm: str, seed: int) -> SampleVideos:
        """Return the sampled videos of a replicate that is there."""

    def replicates(self) -> list[Replicate]:
        """Return the replicates that are there."""


def missing_row(experiment: str, arm: str, resolved: ResolvedArm, seed: int, folder: str) -> dict[str, Any]:
    """Return the row of a replicate of which nothing is there.

    Args:
        experiment: its name.
        arm: its name.
        resolved: the arm as it was launched.
        seed: of the replicate.
        folder: where it would lie.
    """
    return {
        "experiment": experiment, "arm": arm, "axes": dict(resolved.axes), "seed": seed, "identity": resolved.identity,
        "state": str(State.MISSING), "folder": folder, "result": None,
    }  # fmt: skip


def earlier(arm: ResolvedArm, step: int | None) -> int | None:
    """Return the step where it is an earlier one than that at which the arm is compared, else None."""
    return None if step is None or step == arm.steps[-1] else step
