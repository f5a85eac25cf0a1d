"""`seeds` of an experiment file that are added until claims are decided: what may be written, and what is told."""

from pathlib import Path

import pytest

from registry.experiment.experiment_file import load_experiment
from registry.schema.seeds import UntilDecided
from tests.fixtures.writing import TOY, arms, problems, write

CLAIM = "ablate: {model.blocks: [variant_1, variant_2]}\nclaim: {axis: blocks, better: variant_1, worse: variant_2}\n"
DESIGN = "seeds: {first: 3, most: 12}\n"


def test_a_design_says_when_claims_are_judged(tmp_path: Path) -> None:
    path = write(tmp_path, f"{TOY}{CLAIM}seeds: {{first: 3, most: 12, every: 4}}\n")
    experiment = load_experiment(path).experiment
    assert experiment.until_decided is not None
    assert experiment.until_decided.looks == (3, 7, 11, 12)
    assert experiment.all_seeds == tuple(range(12))
    assert [experiment.until_decided.look_after(n) for n in (3, 4, 11, 12)] == [7, 7, 12, None]
    assert [experiment.until_decided.told_look(n) for n in (7, 12, 5)] == ["2 of 4", "4 of 4", "at 5 seeds"]


def test_the_command_line_says_it_as_well_and_identities_stay(tmp_path: Path) -> None:
    listed = write(tmp_path, TOY + CLAIM)
    assert load_experiment(listed).experiment.until_decided is None
    for words in (["seeds={first: 3, most: 6}"], ["seeds={first: 3, most: 12}", "seeds.most=6"]):
        experiment = load_experiment(listed, words).experiment
        assert experiment.until_decided == UntilDecided(first=3, most=6)
    before = [arm.identity for arm in arms(listed).values()]
    assert [arm.identity for arm in arms(write(tmp_path, TOY + CLAIM + DESIGN)).values()] == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{CLAIM}seeds: {{first: 3, mots: 12}}", "seeds.mots: unknown key; did you mean 'most'?"),
        (f"{CLAIM}seeds: {{first: 3}}", "seeds.most: missing; give it a value"),
        (f"{CLAIM}seeds: {{first: 1, most: 12}}", "seeds: expected 2 <= first < most"),
        (f"{CLAIM}seeds: {{first: 3, most: 3}}", "seeds: expected 2 <= first < most"),
        (f"{CLAIM}seeds: {{first: 3, most: 12, every: 0}}", "seeds.every: expected greater than 0"),
        (f"{CLAIM}seeds: {{first: 3, most: 2000, every: 100}}", "seeds: expected most to be 1000 or fewer"),
        (f"{CLAIM}seeds: {{first: 3, most: 900}}", "seeds: expected at most 100 looks, not 898"),
        (DESIGN, "seeds: there is no claim to be decided: add `claim`, or list the seeds, such as [0, 1, 2]"),
        (f"{CLAIM}{DESIGN}screen: {{rungs: [3]}}", "screen: stops arms that claims need"),
        ("evaluate_at: {evry: 3}", "evaluate_at.evry: unknown key; did you mean 'every'?"),
    ],
)
def test_what_makes_no_sense_is_told_where_it_stands(tmp_path: Path, text: str, words: str) -> None:
    path = write(tmp_path, f"{TOY}{text}\n")
    told = problems(path)
    assert any(words in line and line.startswith(f"{path}:") for line in told), told
    assert not any("tuple" in line or "dictionary" in line for line in told), told


def test_a_claim_that_is_wrong_is_the_only_thing_that_is_told(tmp_path: Path) -> None:
    text = f"{TOY}ablate: {{model.blocks: [variant_1, variant_2]}}\nclaim: {{axis: blocks, bettre: x}}\n{DESIGN}"
    assert not any("there is no claim" in line for line in problems(write(tmp_path, text)))
