"""The paper's claims beside what was run: for each claim the verdicts that test it, and at which scale."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.paper.claims import PaperClaim
from analysis.reading.experiment_results import ExperimentResults
from analysis.reading.loading import launched, open_reported, open_results
from analysis.results.run_columns import spec_values
from analysis.tables import terminal
from analysis.tables.score_table import NOTHING
from analysis.verdicts.agreement import Agreement, agreement_of, agreements
from analysis.verdicts.verdict import Verdict
from registry.errors import RunError, SpecError

NOT_RUN = "not run"
ANSWER = 14  # columns of an answer in front of its claim


@dataclass(frozen=True)
class Test:
    """A verdict that tests a claim of the paper.

    Args:
        experiment: its name.
        verdict: the answer.
        scale: data, network and steps, in words.
        agreement: with the verdicts in other scores, where the claim is judged in several.
    """

    experiment: str
    verdict: Verdict
    scale: str
    agreement: Agreement | None = None


@dataclass(frozen=True)
class Row:
    """A claim, and the verdicts that test it; none where nothing was run."""

    claim: PaperClaim
    tests: tuple[Test, ...]

    @property
    def answer(self) -> str:
        """The one answer of all its verdicts, `mixed` where they differ, or `not run`."""
        answers = dict.fromkeys(test.verdict.verdict for test in self.tests)
        return next(iter(answers)) if len(answers) == 1 else "mixed" if answers else NOT_RUN


def scoreboard(
    claims: Sequence[PaperClaim], runs: Path, names: Sequence[str] | None = None, reported: bool = False
) -> tuple[list[Row], list[str]]:
    """Return a row for each claim, and a line for each experiment that could not be read.

    Args:
        claims: of the paper.
        runs: the folder of all runs; one that is not there holds nothing.
        names: of the experiments that count; None takes all that were launched.
        reported: whether an experiment counts as its `report` tells it, which is the file without overrides. Otherwise
            the newest launch counts, whatever its overrides.
    """
    tests: dict[str, list[Test]] = {claim.id: [] for claim in claims}
    names = launched(runs) if names is None else names
    problems = [] if names else [f"{runs}: holds no launched experiment"]
    for name in names:
        try:
            results = open_reported(runs / name) if reported else open_results(runs / name)
            for claim, test in _tests(claims, results):
                tests[claim.id].append(test)
        except (RunError, SpecError) as error:
            problems.append(f"{name} is left out: {error}")
    return [Row(claim, tuple(tests[claim.id])) for claim in claims], problems


def _tests(claims: Sequence[PaperClaim], results: ExperimentResults) -> Iterator[tuple[PaperClaim, Test]]:
    if not results.resolved.claims:
        return
    arms = {arm: spec_values(spec) for arm, spec in results.specs.items()}
    answers: list[Verdict] = []
    agreed: list[Agreement] = []
    for place, resolved in enumerate(results.resolved.resolved_claims):
        last = max((step for arm in resolved.arms for step in results.resolved.arms[arm].steps), default=0)
        tuned = _tuned(resolved.arms, results)
        for claim in claims:
            if claim.tested_by(resolved, arms, last, tuned):
                if not answers:
                    answers = results.verdict()
                    agreed = agreements(answers)
                scale, together = _scale(arms, resolved.arms, results, tuned), agreement_of(answers[place], agreed)
                yield claim, Test(results.name, answers[place], scale, together)


def _tuned(named: Sequence[str], results: ExperimentResults) -> list[str]:
    """Return the keys of which each of these arms found its best value."""
    chosen = [own.values if (own := results.resolved.arms[arm].tuned) else {} for arm in named]
    return [key for key in chosen[0] if all(key in values for values in chosen)]


def _scale(
    arms: dict[str, dict[str, Any]], named: Sequence[str], results: ExperimentResults, tuned: Sequence[str]
) -> str:
    """Say on what, how large and how long: `moving_shapes 16 px, 0.7 M parameters, 200 steps of 16`.

    Where values were tuned it goes on with `, learning_rate tuned for each arm`.
    """
    first = arms[named[0]]
    counts = [own for arm in named if (own := results.resolved.arms[arm].parameters) is not None]
    sizes = dict.fromkeys(f"{count / 1e6:.3g}" for count in (min(counts), max(counts))) if counts else {}
    network = f", {' to '.join(sizes)} M parameters" if sizes else ""
    steps = f"{first['learning.steps']:,} steps of {first['learning.batch_size']}"
    keys = " and ".join(key.rpartition(".")[2] for key in tuned)
    told = f", {keys} tuned for each arm" if keys else ""
    return f"{first['data.dataset']} {first['data.resolution']} px{network}, {steps}{told}"


HEADERS = ("claim", "answer", "tested by", "scale", "effect", "95% interval", "seeds", "p")


def rendered(rows: Sequence[Row], form: str, width: int | None = None) -> str:
    """Return the scoreboard as text for the terminal, as Markdown or as JSON.

    Args:
        rows: of the scoreboard.
        form: `table`, `md` or `json`.
        width: columns of the text; None asks the terminal.
    """
    if form == "json":
        return json.dumps([_as_json(row) for row in rows], indent=1, ensure_ascii=False)
    if form == "md":
        table = [HEADERS, tuple("---" for _ in HEADERS), *(cells for row in rows for cells in _cells(row))]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in table)
    counts = Counter(row.answer for row in rows)
    told = ", ".join(f"{many} {answer}" for answer, many in counts.most_common())
    lines = [line for row in rows for line in _block(row, width or terminal.columns_here())]
    return "\n".join([*lines, f"{len(rows)} claims of the paper: {told}"])


def _block(row: Row, width: int) -> Iterator[str]:
    """A claim with its answer in front, and a line for each test of it."""
    yield terminal.wrapped(f"{row.answer:<{ANSWER}}{row.claim.says}", width, " " * ANSWER)
    for _, answer, where, scale, effect, interval, seeds, p in _cells(row):
        how = f": {answer}, {effect} ({interval}), {seeds} seeds, p = {p} ({scale})" if row.tests else ""
        yield terminal.wrapped(f"{' ' * ANSWER}{where}{how}", width, " " * (ANSWER + 2))


def _cells(row: Row) -> Iterator[tuple[str, ...]]:
    if not row.tests:
        yield (row.claim.says, NOT_RUN, row.claim.file, "", "", "", "", "")
    for test in row.tests:
        answer = test.verdict
        interval = f"{answer.interval[0]:.3g} to {answer.interval[1]:.3g}" if answer.interval else NOTHING
        effect = f"{answer.effect:+.3g}" if answer.effect is not None else NOTHING
        p = f"{answer.p:.2g}" if answer.p is not None else NOTHING
        where = f"{test.experiment} ({answer.claim.text})"
        told = (
            f"{answer.verdict} in {answer.claim.metric} ({test.agreement.word})" if test.agreement else answer.verdict
        )
        yield (row.claim.says, told, where, test.scale, effect, interval, str(answer.n), p)


def _as_json(row: Row) -> dict[str, Any]:
    about = row.claim.model_dump(include={"id", "says", "source", "sure", "file", "note"})
    tests = [
        {
            "experiment": test.experiment,
            "scale": test.scale,
            **test.verdict.as_json(),
            **({"agreement": test.agreement.word} if test.agreement else {}),
        }
        for test in row.tests
    ]
    return {**about, "answer": row.answer, "tests": tests}
