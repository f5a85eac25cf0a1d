"""What stands at the end of a launch, to read without a command: a page, figures, the table of scores, the verdict.

A report belongs to a resolved experiment: its arms with their identities, its seeds and its claims. Each has a folder
of its own, `reports/<digest>/` in that of the experiment, so a command with overrides, or an edited file, replaces
nobody else's. `report` beside them is a link to the one of the file as it was last reported without overrides.
"""

import contextlib
import os
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from analysis.figures import pictures
from analysis.figures.report_figures import Results
from analysis.report import page
from analysis.report.page import PageData
from analysis.report.score_summary import score_summary
from analysis.results.table_runs import runs_of
from analysis.results.tunings import tuning_lines
from analysis.tables import rendering, score_table
from registry.runs.files import locked, write_atomically
from registry.runs.resolved_experiment import LINK, ResolvedExperiment, keep_resolved, place_of, read_kept

WIDTH = 120  # of verdict.txt


def write(
    experiment: Path, about: ResolvedExperiment, results: Results, link: bool, forms: Sequence[pictures.Form] = ()
) -> list[Path]:
    """Write report.html, experiment.json, figures, table.md, table.csv, verdict.txt, verdict.json; return their paths.

    Args:
        experiment: the experiment's folder.
        about: what the report is of.
        results: what it says.
        link: let `report` lead there, because the file says all this without overrides.
        forms: in which figures are drawn as well as pictures; those in which they were drawn before are drawn anew.
    """
    table = score_summary(about, results, tuning_lines(about.tuned))  # the page has these in a section of their own
    table = replace(table, runs=tuple(runs_of(results.frame)))
    texts = {
        "table.md": score_table.to_markdown(table),
        "table.csv": score_table.to_csv(table),
        "verdict.txt": rendering.verdicts_table(about.experiment, results.answers, "table", WIDTH, about.tuned),
        "verdict.json": rendering.verdicts_table(about.experiment, results.answers, "json", tuned=about.tuned),
    }
    place = place_of(experiment, about.digest)
    with locked(place):  # the job that reports and a person may do so at the same moment
        drawn = []
        for form in ("png", *pictures.paper_forms(place, forms)):
            drawn += pictures.draw(place, results, form)
        kept = keep_resolved(experiment, about)
        texts[page.NAME] = page.report_page(PageData(read_kept(kept, about), results))
        for name, text in texts.items():
            write_atomically(place / name, text.rstrip("\n") + "\n")
        written = [*drawn, kept, *(place / name for name in texts)]
    if link and _lead_to(experiment / LINK, place):
        return [experiment / LINK / path.relative_to(place) for path in written]
    return written


def _lead_to(link: Path, place: Path) -> bool:
    """Let the link lead to a report; what an earlier version wrote in its place is kept as `reports/earlier`.

    Returns:
        Whether it does: there are file systems without links.
    """
    if link.is_dir() and not link.is_symlink():
        with contextlib.suppress(OSError):  # there is one already: then this one stays where it is
            link.rename(place.parent / "earlier")
    mine = link.with_name(f".{link.name}.{uuid.uuid4().hex}.tmp")
    try:
        mine.symlink_to(place.relative_to(link.parent), target_is_directory=True)
        os.replace(mine, link)
    except OSError:
        mine.unlink(missing_ok=True)
        return False
    return True
