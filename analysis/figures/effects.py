"""The effects that claims are about as a figure: each with its interval, the line of no effect, and the floors."""

from collections.abc import Sequence

from analysis.figures.arm_figures import COLOURS, GREY, NAMES, ShownFigure, caption, plain
from analysis.figures.text import LINE, fold
from analysis.verdicts.verdict import Verdict
from registry.errors import RunError

MARKS = {"supported": ("o", COLOURS[2]), "contradicted": ("X", COLOURS[1]), "undecided": ("D", COLOURS[0])}


def effects_figure(answers: Sequence[Verdict], *, width: float = 6.4) -> ShownFigure:
    """A panel a score, a line a claim: the effect, its interval, zero, and in grey the score of real halves.

    An effect within the grey band is smaller than what real clips score against each other. The margin of an
    equivalence is a pair of dashes.

    Args:
        answers: to claims; those without an effect are left out.
        width: of the figure, in inches.

    Raises:
        RunError: no claim has an effect.
    """
    panels: dict[tuple[str, str], list[Verdict]] = {}
    for answer in answers:
        if answer.effect is not None:
            panels.setdefault((answer.claim.metric, answer.claim.kind), []).append(answer)
    if not panels:
        raise RunError("no claim has an effect yet")
    room = min(NAMES, 0.42 * width)
    names = {key: [fold(answer.claim.text, room) for answer in own] for key, own in panels.items()}
    rows = {key: sum(max(0.45, LINE * (name.count("\n") + 1) + 0.15) for name in own) for key, own in names.items()}
    figure = ShownFigure(figsize=(width, sum(rows.values()) + 0.75 * len(rows) + 0.5), layout="constrained")
    all_axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=list(rows.values()))[:, 0]
    for axes, (key, own) in zip(all_axes, panels.items(), strict=True):
        axes.axvline(0.0, color=GREY, lw=1.2, zorder=1)
        for place, answer in enumerate(own):
            assert answer.effect is not None
            mark, colour = MARKS.get(answer.verdict, ("s", GREY))
            axes.plot(answer.effect, place, mark, ms=7, color=colour, zorder=3)
            if answer.interval:
                axes.plot(answer.interval, (place, place), "-", lw=1.8, color=colour, solid_capstyle="butt", zorder=2)
            if answer.effect_in_floors:
                floor = abs(answer.effect / answer.effect_in_floors)
                axes.fill_between((-floor, floor), place - 0.5, place + 0.5, color=GREY, alpha=0.25, lw=0, zorder=0)
            if answer.margin is not None:
                axes.plot([-answer.margin, answer.margin], [place, place], "|", ms=14, color=GREY, zorder=2)
        axes.set_yticks(range(len(own)), names[key], parse_math=False)
        axes.set_ylim(len(own) - 0.5, -0.5)
        axes.set_xlabel(fold(f"{_axis(key[1])} in {key[0]}", width - room - 0.4), fontsize=9, parse_math=False)
        plain(axes, grid="x")
    caption(figure, "mark: mean effect, line: 95% interval, grey: size of a score of real halves")
    return figure


def _axis(kind: str) -> str:
    return {
        "order": "effect, right of zero supports,",
        "equivalence": "difference, near zero supports,",
        "trend": "improvement a step, right of zero supports,",
        "holds_over": "mean effect over values, right of zero supports,",
        "interaction": "difference of effects, far from zero supports,",
        "change": "change of the effect, far from zero supports,",
    }[kind]
