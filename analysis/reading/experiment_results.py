"""The results of one experiment, for notebooks: frames, comparisons, verdicts, tables, figures and sampled videos."""

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.figures import arm_figures
from analysis.figures.sample_videos import SampleVideos
from analysis.figures.shown_arms import shown_in_all
from analysis.reading import effects
from analysis.reading.effects import Paired
from analysis.reading.results_source import ResultsSource
from analysis.results import results_frame
from analysis.results.run_columns import spec_values, typed
from analysis.results.tunings import tuning_lines
from analysis.tables import rendering, terminal
from analysis.tables.score_table import BASELINE, Summary, summary
from analysis.verdicts import judging
from analysis.verdicts.looks import History
from analysis.verdicts.plateau import LOSS, with_plateaus
from analysis.verdicts.recorded_looks import seen
from analysis.verdicts.verdict import Verdict
from registry.errors import RunError, did_you_mean
from registry.experiment.claims import direction_of
from registry.runs.replicate import Replicate
from registry.runs.resolved_experiment import ResolvedExperiment
from registry.runs.tunings import TunedArm
from registry.schema.result_columns import LOSS_PROTOCOL
from registry.schema.spec import Spec

MACS = "macs"  # the column of what the code evaluates for a clip
OF_SCORE = ("seed", "step", "metric", "value", "low", "high", "n_fake", "n_real", "protocol")  # columns of `scores`


class Verdicts(list[Verdict]):
    """The answers to an experiment's claims; a notebook shows them as the verb `verdict` prints them."""

    def __init__(self, experiment: str, answers: Sequence[Verdict], tuned: Mapping[str, TunedArm]) -> None:
        super().__init__(answers)
        self.experiment, self.tuned = experiment, tuned

    def __repr__(self) -> str:
        return rendering.verdicts_table(self.experiment, self, "table", tuned=self.tuned)

    def _repr_html_(self) -> str:
        told = rendering.verdicts_table(self.experiment, self, "table", terminal.WIDE, self.tuned)
        return f"<pre>{html.escape(told)}</pre>"


class ExperimentResults:
    """What there is of an experiment's results. Everything is read from its source when it is first asked for.

    Args:
        source: where the results are.
        resolved: the experiment as it was launched.
    """

    def __init__(self, source: ResultsSource, resolved: ResolvedExperiment) -> None:
        self.source, self.resolved = source, resolved

    def __repr__(self) -> str:
        with_ = f" with {' '.join(self.overrides)}" if self.overrides else ""
        states = self.frame["state"].value_counts()
        counted = ", ".join(f"{number} {state}" for state, number in states.items())
        size = f"{len(self.arms)} arms, {self._told_seeds()}"
        return f"{self.name}{with_}: {size} ({counted}) in {self.source.place}"

    def _told_seeds(self) -> str:
        resolved = self.resolved
        return resolved.told_seeds if resolved.until_decided is not None else f"{len(resolved.seeds)} seeds"

    @property
    def name(self) -> str:
        """The experiment's name."""
        return self.resolved.experiment

    @property
    def overrides(self) -> tuple[str, ...]:
        """The overrides that it was launched with, `key.path=value`."""
        return self.resolved.overrides

    @property
    def arms(self) -> list[str]:
        """The names of its arms, the baseline first."""
        return list(self.resolved.arms)

    @cached_property
    def replicates(self) -> list[Replicate]:
        """The replicates whose run folders are there, at the step where arms are compared.

        Raises:
            RunError: the results were read from MLflow, which has no run folders.
        """
        return self.source.replicates()

    @property
    def folder(self) -> Path:
        """The experiment's folder among the runs, on the machine where it was made."""
        return self.source.folder

    @cached_property
    def specs(self) -> dict[str, Spec]:
        """The spec of each arm of which there is a run."""
        return self.source.specs()

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The replicates as the functions of `analysis` take them: a row each, a column an axis and a score."""
        return self.at_step(None)

    def at_step(self, step: int | None) -> pd.DataFrame:
        """Return `frame` with the evaluations at an earlier step of `evaluate_at`.

        Args:
            step: of the trainings; None is the step where arms are compared.

        Raises:
            RunError: no arm is evaluated at that step, or a run folder was edited.
        """
        steps = sorted({own for arm in self.resolved.arms.values() for own in arm.steps})
        if step is not None and step not in steps:
            raise RunError(f"{self.name}: no arm is evaluated at step {step}, but at {', '.join(map(str, steps))}")
        return results_frame.load(self.source.rows(step))

    @cached_property
    def runs(self) -> pd.DataFrame:
        """A row for each replicate: axes, scores, parameters, MACs of a clip, and every key of the spec, typed.

        What is not known yet is missing: all but arm, seed and state for a replicate without a run folder. An axis
        that has the name of its key, such as `learning.steps`, is one column: the typed one.
        """
        named = {arm: spec_values(spec) for arm, spec in self.specs.items()}
        keys = list(dict.fromkeys(key for values in named.values() for key in values))
        owners = list(zip(self.frame["arm"].tolist(), self.frame["seed"].tolist(), strict=True))
        there = set(self.source.owners())
        values = [named.get(owner[0], {}) if owner in there else {} for owner in owners]
        specs = typed({key: [own.get(key) for own in values] for key in keys})
        counts = [self.resolved.arms[arm] for arm, _ in owners]
        costs = typed({"parameters": [own.parameters for own in counts],
                       MACS: [own.macs.get("evaluated") for own in counts]})  # fmt: skip
        # Parameters are those that were counted, whether an arm was trained or not.
        hidden = ["protocol_specs", "made_by", LOSS_PROTOCOL, "parameters"]
        twice = specs.columns.intersection(self.frame.columns)  # axes
        return pd.concat([self.frame.drop(columns=[*hidden, *twice]), costs, specs], axis=1)

    def curves(self, *metrics: str) -> pd.DataFrame:
        """Return what the trainings logged: `arm`, `seed`, `step`, and a column for each metric.

        Args:
            metrics: only these; none: all.

        Raises:
            RunError: nothing with this name was logged.
        """
        found = self.source.curves(metrics)
        for name in metrics:
            if name not in found and len(every := self.source.curves(())):
                raise RunError(f"{self.name}: nothing named {name!r} was logged; {did_you_mean(name, map(str, every))}")
        return found

    def scores(self) -> pd.DataFrame:
        """Return every score of every evaluation, a row each.

        Returns:
            The columns `arm`, one an axis, `seed`, `step`, `metric`, `value`, `low` and `high` (the score's own
            interval over the sampled clips, missing where the metric has none), `n_fake`, `n_real`, `protocol`.
        """
        early = {name: arm.steps[:-1] for name, arm in self.resolved.arms.items()}
        steps = sorted({step for own in early.values() for step in own})
        rows = [
            row
            for step in (*steps, None)
            for replicate in self.source.rows(step)
            if step is None or step in early[replicate["arm"]]
            for row in _scores(replicate)
        ]
        axes = map(_axis_column, next(iter(self.resolved.arms.values())).axes)
        return pd.DataFrame(rows, columns=["arm", *axes, *OF_SCORE])

    def paired(self, metric: str, arm: str, against: str = BASELINE) -> Paired:
        """Return one arm against another, paired by seed, with Student's interval of the mean difference.

        Args:
            metric: the score, in short (`fvd`) or in full.
            arm: the one, by name.
            against: the other.

        Raises:
            RunError: there is no such score or arm, or the score was measured on different data or by different
                protocols.
        """
        return effects.paired(self.frame, self.score_name(metric), self._arm(arm), self._arm(against))

    def main_effects(self, metric: str) -> pd.DataFrame:
        """Return what each value of each axis changes against the baseline's (`analysis.reading.effects`)."""
        return effects.main_effects(self.frame, self.score_name(metric), self._axes)

    def interactions(self, metric: str) -> pd.DataFrame:
        """Return how effects on two axes of a grid depend on each other (`analysis.reading.effects.interactions`)."""
        return effects.interactions(self.frame, self.score_name(metric), self._axes)

    def pareto(self, metric: str, cost: str = MACS) -> pd.DataFrame:
        """Return score and cost of every arm, and which no other arm dominates (`analysis.reading.effects.pareto`).

        Args:
            metric: the score, in short or in full.
            cost: a column of `runs` with numbers, such as `macs`, `parameters` or `seconds`; averaged over seeds.

        Raises:
            RunError: there is no such score or column.
        """
        numbers = [str(name) for name in self.runs.columns if pd.api.types.is_numeric_dtype(self.runs[name])]
        if cost not in numbers:
            raise RunError(f"{self.name}: no column {cost!r} with numbers; {did_you_mean(cost, numbers)}")
        by_arm = self.runs.groupby("arm", sort=False)[cost].mean().astype("float64")
        full = self.score_name(metric)
        direction = direction_of(full, self.resolved.directions)
        if direction is None:
            raise RunError(f"{self.name}: nothing says which way {full} is better, so no arm dominates another")
        return effects.pareto(self.frame, full, by_arm, direction)

    def verdict(self, harmless: str = "") -> Verdicts:
        """Return the answers to the experiment's claims, as the verb `verdict` gives them: a look, which counts.

        Args:
            harmless: why it does not matter that arms were made by different code; empty: such verdicts are refused.

        Raises:
            RunError: a claim compares scores of different data or protocols.
        """
        claims = self.resolved.resolved_claims
        by_step = {step: self.at_step(step) for claim in claims for step in claim.steps}

        def judged(history: History) -> list[Verdict]:
            return judging.judge(
                self.frame, claims, floors=self.floors, harmless=harmless, by_step=by_step, history=history
            )

        source = self.source
        answers = seen(source.history, self.frame, self.resolved.until_decided, judged, source.unwritten)
        curves = self.source.curves([LOSS]) if answers else pd.DataFrame()
        return Verdicts(self.name, with_plateaus(answers, curves, self.frame), self.resolved.tuned)

    def table(self, *metrics: str) -> Summary:
        """Return scores by arm: mean, spread over seeds, difference to the baseline; a notebook shows it as a table.

        Args:
            metrics: scores, in short (then by each detector) or in full; none: all but those of single noise bands.

        Raises:
            RunError: there is no such score, or it was measured on different data or by different protocols.
        """
        asked = list(dict.fromkeys(name for metric in metrics for name in self.score_names(metric)))
        names = asked or results_frame.shown_scores(self.frame)
        found = summary(self.frame, names, self.floors, self.resolved.directions)
        return replace(found, notes=(*found.notes, *tuning_lines(self.resolved.tuned), *self.resolved.meanings))

    def figure(self, metric: str) -> arm_figures.ShownFigure:
        """Return a figure of a score by arm: a dot a seed, the mean, its interval, and the floor of real halves."""
        name = self.score_name(metric)
        return arm_figures.scores_figure(
            self.frame, name, floors=self.floors, direction=direction_of(name, self.resolved.directions)
        )

    def curves_figure(self, metric: str = "loss", *, log: bool = True) -> arm_figures.ShownFigure:
        """Return a figure of something logged against training steps: the mean of the seeds, and their band.

        Of very many arms it shows those of `figure`.

        Args:
            metric: what was logged, such as `loss` or `validation_loss`.
            log: draw the values on a logarithmic axis.
        """
        shown = shown_in_all(self.frame, results_frame.score_names(self.frame), self.resolved.directions)
        lines = self.curves(metric).dropna(subset=[metric])
        lines = lines[lines["arm"].isin(shown.names)]
        by_owner: dict[tuple[str, int], list[dict[str, Any]]] = {}
        for arm, seed, step, value in lines[["arm", "seed", "step", metric]].itertuples(index=False):
            by_owner.setdefault((str(arm), int(seed)), []).append({"step": int(step), metric: float(value)})
        return arm_figures.curves_figure(by_owner, metric, log=log, note=shown.note)

    def samples(self, arm: str = BASELINE, seed: int | None = None) -> SampleVideos:
        """Return the sampled videos of a replicate, which play in a notebook.

        Args:
            arm: by name.
            seed: left out: the first that has any.

        Raises:
            RunError: there is no such arm or seed, or it has no videos yet.
        """
        own = [one for owner, one in self.source.owners() if owner == self._arm(arm) and seed in (None, one)]
        if not own:
            which = f"arm {arm!r}" + (f", seed {seed}" if seed is not None else "")
            raise RunError(f"{self.name}: {which} has no run folder yet; {self.resolved.told_seeds}")
        states = self.frame.set_index(["arm", "seed"])["state"]
        done = [one for one in own if states[arm, one] == results_frame.DONE]
        return self.source.samples(arm, (done or own)[0])

    @cached_property
    def floors(self) -> list[dict[str, Any]]:
        """The noise floors that were measured, without those resampled from what is not an arm of the experiment."""
        return self.source.floors()

    @property
    def _axes(self) -> dict[str, dict[str, str]]:
        return {arm: own.axes for arm, own in self.resolved.arms.items()}

    def _arm(self, name: str) -> str:
        if name not in self.resolved.arms:
            raise RunError(f"{self.name}: no arm {name!r}; {did_you_mean(name, self.arms)}")
        return name

    def score_name(self, name: str) -> str:
        """Return the full name of a score: `fvd[videomae]` for `fvd`; of several detectors the first of the scoring.

        Raises:
            RunError: there is no such score, or several, none of them by the first detector.
        """
        found = self.score_names(name)
        if len(found) > 1 and not self._of_first_detector(found):
            raise RunError(f"{self.name}: {name!r} is several scores; name one: {', '.join(found)}")
        return found[0]

    def score_names(self, name: str) -> list[str]:
        """Return the full names of all scores that a name in short may mean, that of the first detector first.

        Raises:
            RunError: there is none.
        """
        known = results_frame.score_names(self.frame)
        full = results_frame.full_name(self.frame, name)
        found = [one for one in known if one == full or ("[" not in name and one.startswith(f"{name}["))]
        if not found:
            scored = f"no score {name!r}; {did_you_mean(name, known)}" if known else "no replicate has a score yet"
            raise RunError(f"{self.name}: {scored}")
        first = self._of_first_detector(found) if len(found) > 1 else found[0]
        return sorted(found, key=lambda one: one != first)

    def _of_first_detector(self, scores: Sequence[str]) -> str | None:
        """The score that is `…[name]` or `…[name:weights]` of the detector that claims are judged by.

        Without one, the score that has no brackets: the literature's detector is not named in its scores.
        """
        spec = next(iter(self.specs.values()))
        named = {one.partition("[")[2].removesuffix("]").partition(":")[0]: one for one in reversed(scores)}
        return named.get(spec.scoring.detector.name, named.get(""))


def _axis_column(axis: str) -> str:
    """The column of an axis among those of scores."""
    return results_frame.axis_column(axis, ("arm", *OF_SCORE))


def _scores(row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The rows of `scores` of a row of `ResultsSource.rows`."""
    result = row["result"] or {}
    axes = {_axis_column(axis): label for axis, label in row["axes"].items()}
    for metric, value in result.get("scores", {}).items():
        details = result["score_details"].get(metric, {})
        low, high = details.get("interval") or (None, None)
        yield {
            "arm": row["arm"], **axes, "seed": row["seed"], "step": result["step"], "metric": metric,
            "value": value, "low": low, "high": high, "n_fake": details.get("n_fake"),
            "n_real": details.get("n_real"), "protocol": result["protocols"].get(metric),
        }  # fmt: skip
