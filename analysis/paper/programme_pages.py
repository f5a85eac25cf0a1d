"""The paper's ablations as they came out, as pages for the docs: the scoreboard, and a page for each experiment.

    python -m analysis.paper.programme_pages runs 'small-*' --out docs/paper

writes `index.md` (each claim of the paper beside the verdicts that test it, what the experiments cost, and what they
were run on), a page for each experiment with such a name, from its report (question, table, verdicts and curves), and
`results.tar.xz`, the results behind them. Results that came unpacked from such an archive, of another machine, have no
report: their page stays as it stands there.
The scoreboard and the pages are about each file without overrides: a launch with overrides that make other arms changes
neither. `verdict --paper` goes by the newest launch instead.
Samples are shown of made-up data alone: pictures of a data set may not be ours to give away.
"""

import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from PIL import Image

from analysis.figures.report_figures import samples_files
from analysis.paper import scoreboard
from analysis.paper.claims import paper_claims
from analysis.reading.experiment_results import ExperimentResults
from analysis.reading.loading import RUNS, open_reported
from analysis.reading.packed_results import arguments, named, pack
from analysis.report import page_facts
from analysis.results.results_frame import done
from analysis.tables import score_table
from registry.errors import RunError, SpecError
from registry.runs.resolved_experiment import LINK

RESULTS = "results.tar.xz"  # the file beside the pages with all that they are made of
SIDE, COLOURS = 900, 64  # pixels and palette of a sheet of samples: a fifth of the bytes of the report
MADE_BY = ("commit", "processor", "GPU", "CPU cores", "Python", "torch")  # of the provenance


@dataclass(frozen=True)
class _Written:
    """What was written of an experiment, and what it took."""

    name: str
    replicates: int
    seconds: float
    made_by: tuple[tuple[str, str], ...]


def write(runs: Path, names: str, out: Path) -> list[Path]:
    """Write the pages of the experiments in a folder of all runs whose names fit; return them, the index first.

    Args:
        runs: the folder.
        names: a pattern such as `small-*`.
        out: the folder of the pages; what stands there of these experiments is replaced where they have a report.

    Raises:
        RunError: no such experiment was launched, one has neither report nor page, or the scoreboard leaves one out.
        SpecError: the file of the paper's claims cannot be read.
        OSError: a report cannot be read, or a page cannot be written.
    """
    found = named(runs, names)
    board, problems = scoreboard.scoreboard(paper_claims(), runs, found, reported=True)
    if problems:
        raise RunError("\n".join(problems))
    out.mkdir(parents=True, exist_ok=True)
    written = [_write_page(open_reported(runs / name), out) for name in found]
    pack(runs, found, out / RESULTS)
    index = out / "index.md"
    index.write_text(_index(scoreboard.rendered(board, "md"), written), encoding="utf-8")
    return [index, *(out / f"{page.name}.md" for page in written)]


def _index(board: str, written: Sequence[_Written]) -> str:
    rows = [[f"[{page.name}]({page.name}.md)", str(page.replicates), f"{page.seconds:,.0f}"] for page in written]
    facts = dict.fromkeys(fact for page in written for fact in page.made_by)
    return "\n".join([
        "# The paper's ablations, run", "", "Each claim of the paper, and the verdicts that test it at this scale.", "",
        board, "", "What stands behind them; trainings that experiments share are counted in each of them.", "",
        score_table.markdown(("experiment", "replicates", "seconds of replicates"), rows), "",
        *(f"- {name}: {value}" for name, value in facts), f"- written on {datetime.now(UTC).date()}", "",
        f"[{RESULTS}]({RESULTS}) has the results themselves, without weights and samples: `tar xf {RESULTS}` makes",
        f"a folder `{RUNS}`, of which `verdict --paper`, `table` and `analysis.load` read all of this back.", "",
    ])  # fmt: skip


def _write_page(results: ExperimentResults, out: Path) -> _Written:
    """Write an experiment's page and its pictures, or leave them where it has no report."""
    report, frame = results.folder / LINK, done(results.frame)
    made_by = tuple((name, value) for name, value in page_facts.provenance(results.frame) if name in MADE_BY)
    page = _Written(results.name, len(frame), float(frame["seconds"].sum()), made_by)
    if (report / "table.md").exists():
        _draw_page(results, report, out)
    elif not (out / f"{results.name}.md").exists():
        raise RunError(f"{results.name}: has no report of its file without overrides; `report` writes it")
    return page


def _draw_page(results: ExperimentResults, report: Path, out: Path) -> None:
    """Write an experiment's page and its pictures from its report."""
    table, verdicts = ((report / name).read_text(encoding="utf-8") for name in ("table.md", "verdict.txt"))
    pictures = out / results.name
    shutil.rmtree(pictures, ignore_errors=True)
    pictures.mkdir()
    command = results.resolved.head.get("Command", "")
    text = [
        f"# {results.name}", "", results.resolved.about, "", *([f"    {command}", ""] if command else []),
        table,
        "```", verdicts.rstrip(), "```", "",
        *(f"![{title}]({path.relative_to(out)})\n" for title, path in _pictures(results, report / "figures", pictures)),
    ]  # fmt: skip
    (out / f"{results.name}.md").write_text("\n".join(text), encoding="utf-8")


def _pictures(results: ExperimentResults, figures: Path, to: Path) -> Iterator[tuple[str, Path]]:
    """Copy what is shown of a report's figures: effects, curves, and samples of made-up data; give title and file."""
    for path in sorted([*figures.glob("effects.png"), *figures.glob("curve-*.png")]):
        yield path.stem.replace("_", " "), Path(shutil.copy(path, to))
    files = samples_files(map(str, results.frame["arm"]))
    for arm, spec in results.specs.items():
        sheet = figures / files[arm]
        if spec.data.path is None and sheet.exists():
            with Image.open(sheet) as picture:
                picture.thumbnail((SIDE, SIDE))
                picture.convert("RGB").quantize(COLOURS).save(to / sheet.name, optimize=True)
            yield f"real clips and samples of {arm}", to / sheet.name


def main(words: list[str] | None = None) -> None:
    parser = arguments("Write the pages of experiments that test the paper's claims.", "the folder of the pages")
    given = parser.parse_args(words)
    try:
        for path in write(given.runs, given.names, given.out):
            print(path)
    except (OSError, RunError, SpecError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
