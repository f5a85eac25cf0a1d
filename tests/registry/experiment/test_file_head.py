"""The labelled comments at the head of an experiment file."""

from pathlib import Path

import pytest

from registry.experiment.file_head import MOST, head_of
from registry.runs.machine import ROOT


def test_labels_are_read_with_the_lines_below_them_up_to_the_first_key(tmp_path: Path) -> None:
    file = tmp_path / "e.yaml"
    file.write_text(
        "# Which is best: this one? No label.\n#\n# Paper:   one is best,\n#          two is worst: by far.\n"
        "# Look at:  the curves\n# and this goes on with nothing\n#   nor this\nname: e\n# Reading: is no head\n"
    )
    assert head_of(file) == {"Paper": "one is best, two is worst: by far.", "Look at": "the curves"}


def test_the_files_of_the_papers_ablations_cite_it() -> None:
    head = head_of(ROOT / "experiments" / "latte" / "variants.yaml")
    assert head["Paper"].startswith("variant_1 is best, variant_2 and variant_3 are close, variant_4 is worst.")
    assert head["Paper"].endswith("no seeds, no error bars.")
    assert head["Reading"].startswith("only variant_1 was released")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"name: e\n"])
def test_a_file_without_a_head_has_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "e.yaml").write_bytes(content)
    assert head_of(tmp_path / "e.yaml") == {}
    assert head_of(tmp_path / "absent.yaml") == {}


def test_a_head_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text(f"# Paper: {'x' * 10_000}\n")
    assert len(head_of(tmp_path / "e.yaml")["Paper"]) == MOST
