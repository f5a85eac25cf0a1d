"""Tables that are laid out column by column look as those that are laid out row by row."""

import io

import pytest
from rich.console import Console

from experiments.cli import console

HEADERS = ["arm", "state", "[value]", "none", "count", "share"]
NAMES = {
    "short": ["baseline", "blocks=[variant_2]"],
    "long": ["learning_rate=0.001,ema_decay=0.9,batch_size=4", "x", "learning_rate=0.001,ema_decay=0.95,batch_size=40"],
    "spaced": ["an arm that is written in several words and some more", "x"],
    "wide": ["漢字" * 20, "x"],
    "nothing": [],
}


@pytest.mark.parametrize("width", [30, 50, 60, 75, 90, 160])
@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES.keys())
def test_both_ways_look_the_same(names: list[str], width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [[name, list(console.COLOURS)[at], 0.5 * at, None, 10**at, "50%"] for at, name in enumerate(names)]
    monkeypatch.setattr(console, "WIDTH", width)

    def picture() -> list[str]:
        file = io.StringIO()
        Console(width=width, file=file).print(console.make_table(HEADERS, rows, "ti[t]le"))
        return file.getvalue().splitlines()

    by_column = picture()
    monkeypatch.setattr(console, "_lines", lambda headers, cells: None)
    assert by_column == picture()
