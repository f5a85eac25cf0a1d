"""The run folders of an experiment as a source of results."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.figures.sample_videos import SampleVideos, sample_videos
from analysis.reading.results_source import earlier, missing_row
from analysis.results.curves import curves
from registry.runs.floors import own_floors, owner_of
from registry.runs.places import link_of
from registry.runs.replicate import Replicate, open_replicate
from registry.runs.resolved_experiment import ResolvedExperiment
from registry.schema.spec import Spec


class RunFolders:
    """The run folders of an experiment (`analysis.reading.results_source.ResultsSource`).

    Args:
        folder: the experiment's, among all runs.
        resolved: the experiment as it was launched.
    """

    def __init__(self, folder: Path, resolved: ResolvedExperiment) -> None:
        self.folder, self.resolved = folder, resolved

    @property
    def place(self) -> str:
        """Return the folder, with no link in it."""
        return str(self.folder.resolve())

    @property
    def history(self) -> Path:
        """Return the experiment's folder."""
        return self.folder

    @property
    def unwritten(self) -> str:
        """Return nothing: new looks are written down."""
        return ""

    @cached_property
    def _there(self) -> dict[tuple[str, int], Replicate]:
        return {(arm, seed): one for arm, seed, one in self._opened(None) if one is not None}

    def owners(self) -> list[tuple[str, int]]:
        """Return arm and seed of every replicate with a run folder."""
        return list(self._there)

    def replicates(self) -> list[Replicate]:
        """Return the replicates with a run folder."""
        return list(self._there.values())

    def rows(self, step: int | None) -> Iterator[dict[str, Any]]:
        """Yield a row for every arm and seed that is evaluated at a step."""
        for arm, seed, replicate in self._opened(step):
            if replicate is None:
                link = str(self._link(arm, seed, step))
                yield missing_row(self.resolved.experiment, arm, self.resolved.arms[arm], seed, link)
            else:
                yield replicate.row()

    def specs(self) -> dict[str, Spec]:
        """Return the spec of each arm."""
        return {arm: one.spec for (arm, _), one in self._there.items()}

    def curves(self, metrics: Sequence[str]) -> pd.DataFrame:
        """Return what the trainings logged."""
        return curves(((own.arm, own.seed, own.training) for own in self.replicates()), metrics)

    def floors(self) -> list[dict[str, Any]]:
        """Return the noise floors, without those resampled from what is not an arm of the experiment."""
        return own_floors(self.folder, map(owner_of, self.replicates()))

    def samples(self, arm: str, seed: int) -> SampleVideos:
        """Return the previews of a replicate."""
        return sample_videos(self._there[arm, seed])

    def _link(self, arm: str, seed: int, step: int | None) -> Path:
        own = self.resolved.arms[arm]
        return link_of(self.folder, arm, own.identity, seed, earlier(own, step))

    def _opened(self, step: int | None) -> Iterator[tuple[str, int, Replicate | None]]:
        """Every arm and expected seed that is evaluated at a step, with the replicate where its folder is there."""
        seeds = self.resolved.seeds_by_arm(self.folder)
        for arm, own in self.resolved.arms.items():
            if step is not None and step not in own.steps:
                continue
            early = earlier(own, step)
            for seed in seeds[arm]:
                link = self._link(arm, seed, step)
                if link.exists():
                    opened = open_replicate(link)
                    named = replace(opened, experiment=self.resolved.experiment, arm=arm, axes=own.axes, step=early)
                    yield arm, seed, named
                else:
                    yield arm, seed, None
