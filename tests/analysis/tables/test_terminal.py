"""Tables for the terminal: every width shows every number whole, names are folded, and nothing is lost."""

import builtins
import re

import pytest
from rich.cells import cell_len

from analysis.tables.score_table import NOTHING
from analysis.tables.terminal import NARROWEST, Look, as_text, columns_here, fitting, pairs, wrapped

HEADERS = ["arm", "seed", "state", "step", "loss", "Δ baseline", "interval", "none", "share"]
ROWS = [
    ["learning_rate=0.0001,blocks=variant_5(window=4,heads=2),norm=rms", "0", "done", "300000/1000000 sampling",
     "123.456 ± 12.345", "+1.5e-05", "-0.048 to 0.579", "", "50%"],
    ["baseline", "12", "contradicted", "3/300", "0.1 ± 0.02", NOTHING, "1 to 2", "", "7%"],
]  # fmt: skip


def shown(width: int, rows: list[list[str]] = ROWS, boxed: bool = False) -> str:
    return as_text(fitting(HEADERS, rows, width, title="ti[t]le: 2 rows", keys=2, look=Look(boxed=boxed)))


def compact(text: str) -> str:
    return re.sub(r"[\s│┃]", "", text)


class ZMQInteractiveShell:
    """What a notebook has: rich goes by the name of the class."""


def test_a_notebook_gets_the_text_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = shown(120)
    monkeypatch.setattr(builtins, "get_ipython", ZMQInteractiveShell, raising=False)
    assert shown(120) == plain


@pytest.mark.parametrize("name", ["FORCE_COLOR", "TTY_COMPATIBLE"])
def test_there_are_no_escape_codes_whatever_terminals_are_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = shown(120, boxed=True)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv(name, "1")
    assert shown(120, boxed=True) == plain
    assert "\x1b" not in plain


@pytest.mark.parametrize("boxed", [False, True])
@pytest.mark.parametrize("width", [40, 50, 60, 80, 100, 120, 160, 240])
def test_numbers_and_words_stand_whole_at_every_width(width: int, boxed: bool) -> None:
    text = shown(width, boxed=boxed)
    lines = text.split("\n")
    assert max(map(cell_len, lines)) <= width, text
    for row in ROWS:
        for cell in row[1:]:
            for part in ("300000/1000000", "sampling") if "sampling" in cell else (cell,):
                assert any(re.search(rf"(^|[\s│]){re.escape(part)}($|[\s│])", line) for line in lines), (part, text)
    assert lines[0].strip() == "ti[t]le: 2 rows"
    if width >= 240:
        assert len(fitting(HEADERS, ROWS, width)) == 1
        assert ROWS[0][0] in text


def test_a_name_is_folded_without_losing_a_sign() -> None:
    text = as_text(fitting(["arm", "score"], [[ROWS[0][0], "0.5"], ["漢字" * 20, "12.25"]], 40))
    cells = "".join(
        line[: line.rfind(" ") if line.endswith(("0.5", "12.25")) else None] for line in text.split("\n")[1:]
    )
    assert compact(cells) == compact(ROWS[0][0] + "漢字" * 20)
    assert max(map(cell_len, text.split("\n"))) <= 40


def test_only_where_it_is_too_wide_an_empty_column_is_left_out_and_a_table_is_several() -> None:
    assert "none" in shown(240)
    assert "none" not in shown(80)
    tables = fitting(HEADERS, ROWS, 60, keys=2)
    assert len(tables) > 1
    for table in tables:
        assert [str(column.header).split("\n")[0] for column in table.columns[:2]] == ["arm", "seed"]
    assert as_text(fitting(HEADERS, [], 240)).split()[:3] == ["arm", "seed", "state"]


def test_numbers_are_put_to_the_right_and_names_to_the_left() -> None:
    (table,) = fitting(
        ["name", "seeds", "count", "both"], [["a", "2 draws", "1,000", "x"], ["b", "3/3", NOTHING, "1"]], 80
    )
    assert [column.justify for column in table.columns] == ["left", "right", "right", "left"]


def test_the_frame_goes_before_a_number_does() -> None:
    assert "│" in shown(240, boxed=True)
    narrow = as_text(fitting(["arm", "seeds", "score"], [["a" * 30, "12/12", "123456.789 ± 1234.567"]], 40, keys=2,
                             look=Look(boxed=True)))  # fmt: skip
    assert "│" not in narrow
    assert "123456.789 ± 1234.567" in narrow


def test_many_rows_are_laid_out_as_one() -> None:
    (table,) = fitting(["arm", "n"], [[f"arm={number}", str(number)] for number in range(3000)], 80)
    assert table.row_count == 1
    assert as_text([table]).count("arm=") == 3000


def test_sentences_are_broken_between_words_and_pairs_stay_together() -> None:
    text = wrapped("effect 0.123456 at 2 points: -1,234.5 (patch=2) to +1.33e-05 (patch=4, depth=12)\nand so on", 24)
    assert max(map(len, text.split("\n"))) <= 24
    assert " ".join(line.strip() for line in text.split("\n")).count("-1,234.5 (patch=2)") == 1
    assert text.split("\n")[-1] == "and so on"
    assert all(line.startswith("  ") for line in text.split("\n")[1:-1])
    lines = pairs(
        [("n:", "3"), ("interval:", "-0.048 to 0.579"), ("p:", "0.04"), ("metric:", "fvd[moving_shapes_r3d]")], 30
    )
    assert lines == ["  n: 3", "  interval: -0.048 to 0.579", "  p: 0.04", "  metric:", "  fvd[moving_shapes_r3d]"]
    assert pairs([("n:", "3"), ("p:", "0.04")], 30) == ["  n: 3, p: 0.04"]


def test_the_width_is_that_of_columns_and_never_too_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "77")
    assert columns_here() == 77
    monkeypatch.setenv("COLUMNS", "3")
    assert columns_here() == NARROWEST
