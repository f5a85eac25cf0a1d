"""YAML as people expect it, and back."""

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.errors import SpecError
from registry.strict_yaml import dump, load, parse, plain


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("2.5e3", 2500.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("-3", -3),
        ("+7", 7),
        ("012", 12),
        ("0o17", 15),
        ("0x1F", 31),
        ("10:30", "10:30"),
        ("1_000", "1_000"),
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("no", "no"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        (".inf", math.inf),
        ("-.Inf", -math.inf),
        ("2024-01-02", "2024-01-02"),
        ("1e", "1e"),
        ("e4", "e4"),
        ("0b11", "0b11"),
    ],
)
def test_plain_scalars(text: str, value: Any) -> None:
    found = parse(f"key: {text}", "file").value["key"]
    assert (found, type(found)) == (value, type(value))


def test_not_a_number() -> None:
    assert math.isnan(parse("key: .nan", "file").value["key"])


@pytest.mark.parametrize("text", ["1e-4", "12", "true", "null", "~", "", ".inf", "on"])
@pytest.mark.parametrize("quote", ["'", '"'])
def test_quoted_scalars_are_text(text: str, quote: str) -> None:
    assert parse(f"key: {quote}{text}{quote}", "file").value["key"] == text


def test_sequences_are_tuples_and_keys_are_text() -> None:
    assert parse("1: [a, [2, 3.0]]\non: x", "file").value == {"1": ("a", (2, 3.0)), "on": "x"}


def test_duplicate_keys_are_told_with_both_places() -> None:
    document = parse("a:\n  b: 1\n  c: 2\n  b: 3\na: 4\n", "file.yaml")
    assert document.value == {"a": {"b": 1, "c": 2}}
    assert document.problems == [
        "file.yaml:4: a.b: given twice (first at file.yaml:2)",
        "file.yaml:5: a: given twice (first at file.yaml:1)",
    ]


def test_every_key_has_its_line() -> None:
    where = parse("a: 1\nb:\n  - x\n  - {c: 2,\n     d: 3}\n", "f").where
    assert where[("a",)] == "f:1"
    assert where[("b", "1")] == "f:4"
    assert where[("b", "1", "d")] == "f:5"


@pytest.mark.parametrize("text", ["a: [1, 2", "a: b: c", "\tx: 1", "a: 1\n--- \nb: 2"])
def test_no_yaml(text: str) -> None:
    with pytest.raises(SpecError, match=r"^file\.yaml(:\d+)?: not valid YAML") as refused:
        parse(text, "file.yaml")
    assert len(refused.value.problems) == 1


def test_absent_file_names_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "there.yaml").write_text("a: 1")
    with pytest.raises(SpecError, match=r"no such file; there is .*there\.yaml"):
        load(tmp_path / "ther.yaml")


def test_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(SpecError, match="cannot be read"):
        load(tmp_path / "binary.yaml")
    with pytest.raises(SpecError, match="cannot be read"):
        load(tmp_path)


# Control characters other than tab and newline have no place in YAML text, and a spec needs none.
TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc", "Cn", "Zl", "Zp"), exclude_characters="\ufeff\x85"))
LOOKS_LIKE_SOMETHING_ELSE = st.sampled_from(
    [
        "1e-4",
        "012",
        "0x1f",
        "0o7",
        "1.",
        ".5",
        "10:30",
        "on",
        "no",
        "null",
        "~",
        "",
        "true",
        ".inf",
        "=",
        "<<",
        "- a",
        "a: b",
        "#x",
        " x ",
        "!x",
        "&a",
        "*a",
        "%",
        "@",
    ]
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    TEXT,
    LOOKS_LIKE_SOMETHING_ELSE,
)
KEYS = st.one_of(TEXT, LOOKS_LIKE_SOMETHING_ELSE).filter(lambda text: "\n" not in text)
VALUES = st.recursive(
    SCALARS, lambda inner: st.one_of(st.lists(inner, max_size=4).map(tuple), st.dictionaries(KEYS, inner, max_size=4))
)


@settings(max_examples=300)
@given(VALUES)
def test_dump_and_parse_are_inverse(value: Any) -> None:
    document = parse(dump({"key": value}), "file")
    assert repr(document.value) == repr({"key": value})  # repr: 1 is not 1.0, and 0.0 is not -0.0
    assert not document.problems


@given(st.floats(allow_nan=False))
def test_floats_are_written_as_people_write_them(value: float) -> None:
    text = dump(value)
    assert "!!" not in text
    assert plain(text.splitlines()[0]) == value
