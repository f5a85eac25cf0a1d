"""The tables of docs/statistics.md, put between their two marks by `python -m analysis.studies.simulation_tables`."""

import argparse
import datetime
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple
from pathlib import Path

from analysis.studies import look_simulations, simulations, warning_simulations
from analysis.studies.compared_scenarios import COMPARED
from analysis.studies.simulations import GRIDS, NOISE, SCENARIOS, SEEDS, worst_chance
from analysis.tables.score_table import markdown
from registry.errors import RunError
from registry.runs.files import write_atomically

MARK = "simulations"
EXPERIMENTS = 1000
MORE = 10  # times as many where experiments are simulated all at once
PILOT_EFFECT = 1.2  # standard deviations of the paired difference

Say = Callable[[str], None]


def write(path: Path, experiments: int, say: Say) -> None:
    """Replace what stands between the two marks of a Markdown file by new tables.

    Raises:
        RunError: the file is absent or has not both marks.
    """
    parts_around(path, MARK)
    started = time.monotonic()
    sections = list(made(experiments, say))
    replace_between(path, MARK, [_made_by(experiments, time.monotonic() - started), *sections])


def replace_between(path: Path, mark: str, sections: Sequence[str]) -> None:
    """Put sections between the two comments `<!-- mark: begin -->` and `<!-- mark: end -->` of a Markdown file.

    Raises:
        RunError: the file is absent or has not both.
    """
    before, after = parts_around(path, mark)
    write_atomically(path, "\n\n".join([f"{before}<!-- {mark}: begin -->", *sections, f"<!-- {mark}: end -->{after}"]))


def parts_around(path: Path, mark: str) -> tuple[str, str]:
    """What stands before the first comment, and behind the second.

    Raises:
        RunError: the file is absent or has not both.
    """
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    first, second = f"<!-- {mark}: begin -->", f"<!-- {mark}: end -->"
    before, begin, rest = text.partition(first)
    _, end, after = rest.partition(second)
    if not begin or not end:
        raise RunError(f"{path}: there are no tables to replace: the file needs a line {first} and below it {second}")
    return before, after


def made(experiments: int, say: Say) -> Iterator[str]:
    """The tables, one after the other, each below its caption."""
    say("false verdicts")
    yield _false_verdicts(experiments)
    say("looks")
    yield _looks(experiments)
    say("until decided")
    yield _savings(experiments)
    say("warnings")
    yield _warnings(experiments)
    say("coverage")
    yield _coverage(experiments)
    say("power")
    yield _power(experiments)
    say("estimates")
    yield _estimates(experiments)


def _made_by(experiments: int, seconds: float) -> str:
    cores = os.cpu_count()
    machine = f"{platform.system()} {platform.machine()}, {cores} cores (one used), Python {platform.python_version()}"
    command = f"python -m analysis.studies.simulation_tables --out docs/statistics.md --experiments {experiments}"
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    return f"Made by `{command}` on {day} in {seconds:.0f} s ({machine}). {experiments:,} simulated experiments a cell."


def _false_verdicts(experiments: int) -> str:
    rows = [
        [scenario.name, name, *(_percent(simulations.false_share(scenario, noise, n, experiments)) for n in SEEDS)]
        for scenario in (*SCENARIOS, *GRIDS, *COMPARED)
        for name, noise in NOISE.items()
    ]
    limit = _percent(worst_chance(0.05, experiments))
    caption = (
        "**False verdicts.** The share of experiments with any false verdict, at `alpha = 0.05`; with "
        f"{experiments:,} experiments, a true 5 % is seen as up to {limit} (three binomial standard errors)."
    )
    return f"{caption}\n\n{markdown(['truth and claims', 'noise', *(f'n = {n}' for n in SEEDS)], rows)}"


def _looks(experiments: int) -> str:
    many = experiments * MORE
    rows = []
    for name, noise in NOISE.items():
        for of_arms, unequal in look_simulations.UNEQUAL.items():
            for claims in (1, 3):
                found = look_simulations.errors(noise, unequal, claims, many)
                rows.append([name, of_arms, str(claims), *map(_percent, astuple(found))])
    grown = ", ".join(map(str, look_simulations.GROWN))
    design = look_simulations.DESIGN
    caption = (
        f"**Looks.** A/A: the share of experiments with any false verdict over all looks, of {many:,}; a true 5 % is "
        f"seen as up to {_percent(worst_chance(0.05, many))}. `once`: one look at 8 seeds. `naive`: looks at {grown} "
        "seeds until something is shown, each at 5 %. `paid`: the same looks, as `verdict` takes them of a fixed "
        f"design. `until decided`: a design of {design.first} seeds first and {design.most} at most, a look a "
        "seed, and the same with a look every three seeds. `anytime`: an anytime-valid t-test at the looks of "
        "`until decided`."
    )
    header = ["noise", "arms", "claims", "once", "naive", "paid", "until decided", "every third", "anytime"]
    return f"{caption}\n\n{markdown(header, rows)}"


def _savings(experiments: int) -> str:
    design, meant = look_simulations.DESIGN, look_simulations.MEANT_FOR
    found = look_simulations.savings(design, look_simulations.EFFECTS, meant, experiments * MORE)
    rows = [
        [
            f"{own.effect:g} sd", _percent(own.course.shown), f"{own.course.seeds:.1f}", f"{own.fixed:.1f}",
            _percent(own.saved), _percent(own.anytime.shown), f"{own.anytime.seeds:.1f}",
        ]
        for own in found
    ]  # fmt: skip
    caption = (
        f"**Until decided.** One claim of order, {design.first} seeds first and {design.most} at most, against the "
        f"fixed design that finds an effect of {meant:g} sd as often (whose seeds are the same whatever the effect, as "
        "nobody knows it before); and an anytime-valid t-test with the same looks. `sd` is that of the paired "
        "difference."
    )
    header = ["effect", "found", "mean seeds", "fixed design", "saved", "anytime: found", "anytime: seeds"]
    return f"{caption}\n\n{markdown(header, rows)}"


def _warnings(experiments: int) -> str:
    many = experiments * MORE
    rows = []
    for name, noise in NOISE.items():
        for n in warning_simulations.SEEDS:
            found = warning_simulations.alarms(noise, n, many)
            rows.append([name, str(n), _percent(found.two_groups), _percent(found.unequal)])
    caption = (
        f"**Warnings.** How often chance alone sets them off, of {many:,} simulated pairs of arms that differ in "
        "nothing and share nothing: that an arm's seeds fall into two groups, and that one arm scatters more than "
        "three times as much as the other. What seeds do to both arms alike makes the latter rarer."
    )
    return f"{caption}\n\n{markdown(['noise', 'n', 'two groups', 'three times the spread'], rows)}"


def _coverage(experiments: int) -> str:
    rows = []
    for name, noise in NOISE.items():
        for n in SEEDS:
            own = simulations.coverage(noise, n, experiments)
            shares = (own.t_mean, own.t_difference, own.t_unequal, own.bootstrap_mean, own.bootstrap_unequal)
            rows.append([name, str(n), *map(_percent, shares)])
    header = ["noise", "n", "t: mean", "t: difference", "t: unequal noise", "bootstrap: mean", "bootstrap: unequal"]
    spread = 3 * math.sqrt(0.95 * 0.05 / experiments)
    caption = (
        "**Coverage.** How often a nominal 95 % interval holds the truth: of an arm's mean score, of the paired "
        "difference of two arms, and of this difference where one arm is three times as noisy as the other. Student's "
        f"t, and the percentile bootstrap ({simulations.RESAMPLES:,} resamples of the same seeds), which no verdict "
        f"here is made of. Chance: ± {_percent(spread)}."
    )
    return f"{caption}\n\n{markdown(header, rows)}"


def _power(experiments: int) -> str:
    rows = [
        [own.claim, str(own.seeds), _percent(own.power), _percent(own.power_with_fewer), str(own.at_once)]
        for own in simulations.powers(experiments)
    ]
    caption = (
        "**Seeds needed.** The seeds that `verdict` asks for at its first look at one claim of a fixed design (80 % "
        f"power at the level of the second look, {100 * simulations.NEXT_LEVEL:.2g} %) where effect and spread are "
        "known exactly, and the simulated share of experiments that find the effect at that level. `sd` is that of "
        "the paired difference of two arms; of a trend every step has to be found, for which the three steps' lack of "
        f"power is added up. Last: the seeds of a single test at {100 * simulations.ALPHA:.0f} %. Chance: ± "
        f"{_percent(3 * math.sqrt(0.8 * 0.2 / experiments))}."
    )
    header = ["claim", "seeds", "found", "found with one seed fewer", "seeds of a single test"]
    return f"{caption}\n\n{markdown(header, rows)}"


def _estimates(experiments: int) -> str:
    needed = simulations.seeds_to_differ(PILOT_EFFECT, 1.0, alpha=simulations.NEXT_LEVEL)
    rows = []
    for n in SEEDS:
        own = simulations.estimates(PILOT_EFFECT, n, experiments)
        asked = ("over 1000" if math.isinf(value) else f"{value:.0f}" for value in (own.low, own.middle, own.high))
        rows.append([str(n), _percent(own.undecided), *asked])
    caption = (
        f"**How rough that estimate is.** A second look needs {needed} seeds for an effect of {PILOT_EFFECT} sd. The "
        "share of experiments that the first look, with n seeds, leaves undecided, and the seeds that `verdict` asks "
        "for in these: 10th percentile, median, 90th percentile."
    )
    return f"{caption}\n\n{markdown(['n', 'undecided', '10 %', 'median', '90 %'], rows)}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def main() -> None:
    """The command line of `python -m analysis.studies.simulation_tables`."""
    parser = argparse.ArgumentParser(
        prog="python -m analysis.studies.simulation_tables", description=simulations.__doc__
    )
    parser.add_argument("--out", type=Path, required=True, help="Markdown file with the two marks")
    parser.add_argument("--experiments", type=int, default=EXPERIMENTS, help="simulated experiments a cell")
    given = parser.parse_args()
    if given.experiments < 1:
        parser.error("--experiments must be above zero")
    try:
        write(given.out, given.experiments, lambda what: print(f"{what} …", file=sys.stderr))
    except RunError as error:
        sys.exit(f"error: {error}")
    print(f"wrote {given.out}")


if __name__ == "__main__":
    main()
