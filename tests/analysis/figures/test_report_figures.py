"""The names of a report's pictures: those of two arms are never the same."""

from pathlib import Path

import pandas as pd
import pytest

from analysis.figures import pictures
from analysis.figures.report_figures import samples_files
from registry.runs.machine import ROOT
from tests.fixtures.replicates import replicates


@pytest.mark.parametrize(
    "arms", [("shift=+5", "shift=-5"), ("größe", "grüße", "gr-e"), ("αβ", "γδ"), ("a(b)", "a,b", "a b")]
)
def test_each_arm_has_a_file_of_its_own(arms: tuple[str, ...]) -> None:
    found = samples_files(arms)
    assert len(set(found.values())) == len(arms)
    assert samples_files(reversed(arms)) == found
    for arm in {"shift=-5", "gr-e"} & set(arms):
        assert found[arm] == f"samples-{arm}.png"  # is plain already


def test_a_name_that_no_other_arm_shares_has_no_digest() -> None:
    arms = ["baseline", "baseline", "conditioning=all_tokens(zero_init=true,token_scale=10)", "blocks=variant_2"]
    found = samples_files(arms)
    assert set(found.values()) == {
        "samples-baseline.png", "samples-conditioning=all_tokens-zero_init=true-token_scale=10.png",
        "samples-blocks=variant_2.png",
    }  # fmt: skip
    assert all(list((ROOT / "docs" / "paper").glob(f"*/{name}")) for name in found.values())


def test_each_arm_is_drawn_into_its_own_file(tmp_path: Path) -> None:
    arms = ("shift=+5", "shift=-5")
    frame = pd.DataFrame(replicates({arm: [1.0] for arm in arms}))
    frame["folder"] = [str(tmp_path / str(number)) for number in range(2)]
    for arm, folder in zip(arms, frame["folder"], strict=True):
        sheet = Path(folder) / pictures.CONTACT_SHEET
        sheet.parent.mkdir(parents=True)
        sheet.write_text(arm)
    assert [path.read_text() for path in list(pictures._samples(tmp_path, frame))] == list(arms)
