import os
import threading

import pytest

from analysis.results.results_frame import load
from analysis.tables.rendering import verdicts_table
from analysis.verdicts.judging import judge
from analysis.verdicts.looks import History
from analysis.verdicts.recorded_looks import seen
from registry.runs.looks import FOLDER, read_looks
from registry.schema.seeds import UntilDecided
from tests.fixtures.replicates import claim, equivalent, improving, replicates

A = [10.0, 11.0, 12.0, 10.5, 11.5, 12.5]
UNCLEAR = [10.9, 11.1, 13.6, 11.9, 12.6, 13.9]  # p = 0.17 with 3 seeds, less with more


def look(folder, seeds, claims=None, b=UNCLEAR, design=None, **recorded):
    """Verdicts of an experiment with so many seeds, which are a look."""
    frame = load(replicates({"a": A[:seeds], "b": b[:seeds], "c": A[:seeds]}, **recorded))
    claims = claims or [claim()]
    return seen(folder, frame, design, lambda history: judge(frame, claims, history=history))


def test_the_same_data_looked_at_again_are_the_same_look(tmp_path):
    first, again = look(tmp_path, 3), look(tmp_path, 3)
    assert (first[0].verdict, first[0].p, first[0].reason) == (again[0].verdict, again[0].p, again[0].reason)
    looks, lost = read_looks(tmp_path)
    assert (len(looks), lost) == (1, [])
    (own,) = looks[0].claims
    assert (own.n, own.metric, own.protocol, own.verdict, own.share) == (3, "fvd", "p", "undecided", 0.75)
    assert looks[0].seeds == (0, 1, 2)
    assert own.says == "a better than b"


def test_data_that_grew_are_another_look_with_the_level_that_is_left(tmp_path):
    (alone,) = judge(load(replicates({"a": A[:5], "b": UNCLEAR[:5]})), [claim()])
    (first,) = look(tmp_path, 3)
    (second,) = look(tmp_path, 5)
    assert first.p == pytest.approx(first.paid.looks[0].p / 0.75)
    assert "look 1, at level 0.0375 of 0.05" in first.reason
    assert "look 2 (before at 3 seeds), at level 0.0" in second.reason
    assert second.paid.level < 0.0375 < 0.05
    assert second.p > alone.p
    assert [own["n"] for own in second.as_json()["looks"]] == [3, 5]
    assert len(read_looks(tmp_path)[0]) == 2
    assert look(tmp_path, 3)[0].reason == first.reason  # what was seen before costs nothing, whenever


def test_what_was_shown_at_one_look_stays_shown(tmp_path):
    clear = [20.0, 21.5, 21.9, 11.0, 12.0, 12.0]
    (first,) = look(tmp_path, 3, b=clear)
    (second,) = look(tmp_path, 6, b=clear)
    assert (first.verdict, second.verdict) == ("supported", "supported")
    assert second.paid.looks[-1].p > 0.05
    assert "was shown at an earlier one" in second.reason


def test_other_claims_and_other_arms_have_looks_of_their_own(tmp_path):
    look(tmp_path, 3)
    (other,) = look(tmp_path, 4, [claim("c", "b")])
    assert len(other.paid.looks) == 1
    frame = load([{**row, "identity": "another"} for row in replicates({"a": A, "b": UNCLEAR})])
    (changed,) = seen(tmp_path, frame, None, lambda history: judge(frame, [claim()], history=history))
    assert len(changed.paid.looks) == 1


def test_scores_made_anew_that_differ_by_rounding_are_no_further_look(tmp_path):
    (first,) = look(tmp_path, 4)
    (again,) = look(tmp_path, 4, b=[score * (1 + 1e-12) for score in UNCLEAR])
    assert len(again.paid.looks) == 1
    assert again.paid.level == first.paid.level
    (other,) = look(tmp_path, 4, b=[score * (1 + 1e-4) for score in UNCLEAR])
    assert len(other.paid.looks) == 2


def test_what_cannot_be_tested_is_no_look(tmp_path):
    frame = load(replicates({"a": A[:3], "b": [*UNCLEAR[:2], None]}))
    (waiting,) = seen(tmp_path, frame, None, lambda history: judge(frame, [claim()], history=history))
    assert waiting.p is None
    assert not (tmp_path / FOLDER).exists()
    assert "looks" not in waiting.as_json()


def test_a_damaged_look_counts_and_is_told_in_a_line(tmp_path):
    look(tmp_path, 3)
    (tmp_path / FOLDER / "0001.json").write_text("{torn")
    (answer,) = look(tmp_path, 5)
    assert answer.paid.looks[0].share == pytest.approx(0.75 * 0.25)
    (line,) = answer.warnings
    assert "0001.json: this look cannot be read" in line
    assert line in verdicts_table("x", [answer], "table", width=400)
    assert len(read_looks(tmp_path)[0]) == 1


def test_a_folder_that_cannot_be_written_still_gives_a_verdict(tmp_path, monkeypatch):
    def refused(*_):
        raise PermissionError(13, "Permission denied", str(tmp_path))

    monkeypatch.setattr("analysis.verdicts.recorded_looks.record_look", refused)
    (answer,) = look(tmp_path, 3)
    assert answer.paid.level == pytest.approx(0.0375, rel=1e-3)
    assert "cannot be written down (Permission denied)" in answer.warnings[0]
    assert os.listdir(tmp_path) == []


def test_looks_at_one_moment_are_none_of_them_lost(tmp_path):
    """Eight threads, each of which sees other data: eight looks, and each paid for those before it."""
    start = threading.Barrier(8)

    def one(number):
        start.wait()
        look(tmp_path, 4, b=[score + number / 100 for score in UNCLEAR])

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    looks, lost = read_looks(tmp_path)
    assert lost == []
    shares = [own.claims[0].share for own in looks]
    assert shares == pytest.approx([0.75 * 0.25**before for before in range(8)])


def test_a_family_is_adjusted_for_claims_and_for_looks(tmp_path):
    (alone,) = look(tmp_path, 5)
    two = tmp_path / "two"
    two.mkdir()
    both = look(two, 5, [claim(), claim("c", "b")])
    assert both[0].p == pytest.approx(2 * alone.p)
    assert "adjusted for 2 claims and for looks" in both[0].reason


def test_a_design_is_judged_at_its_stated_looks_only(tmp_path):
    design = UntilDecided(first=3, most=6, every=2)
    assert design.looks == (3, 5, 6)
    (four,) = look(tmp_path, 4, design=design)
    assert (four.n, len(four.paid.looks)) == (3, 1)
    assert four.paid.looks[0].share == pytest.approx(0.25)
    (five,) = look(tmp_path, 5, design=design)
    (six,) = look(tmp_path, 6, design=design)
    assert (five.n, six.n) == (5, 6)
    assert sum(own.share for own in six.paid.looks) == pytest.approx(1.0)


def test_a_design_says_where_its_claims_stand(tmp_path):
    design = UntilDecided(first=3, most=6)
    (first,) = look(tmp_path, 3, design=design)
    assert (first.course.stage, first.course.next) == ("open", 4)
    assert "look 1 of 4, at level 0.0125 of 0.05" in first.reason
    assert "judged next with 4" in first.reason
    assert "would show" not in first.reason, "how many seeds are needed is found out, not estimated"
    (last,) = look(tmp_path, 6, design=design)
    assert last.course.stage == ("decided" if last.verdict != "undecided" else "ended")
    assert look(tmp_path, 3, design=design)[0].reason == first.reason
    same = tmp_path / "same"
    same.mkdir()
    (hopeless,) = look(same, 5, b=[value + 0.1 * (-1) ** place for place, value in enumerate(A)], design=design)
    assert hopeless.course.stage == "given up"
    assert "given up at look 3 of 4: chance below 10%" in hopeless.reason


def test_a_claim_whose_arms_agree_is_given_up_once_all_their_seeds_are_there(tmp_path):
    design = UntilDecided(first=3, most=6)
    (equal,) = look(tmp_path, 3, [claim("a", "c")], design=design)
    assert (equal.course.stage, equal.course.next, equal.course.chance) == ("given up", None, 0.0)
    assert "equal scores on every seed" in equal.reason
    assert "given up at look 1 of 4" in equal.reason
    assert look(tmp_path, 6, [claim("a", "c")], design=design)[0].course.stage == "ended"
    frame = load(replicates({"a": A[:3], "c": [*A[:2], None]}))
    (missing,) = judge(frame, [claim("a", "c")], history=History(design=design))
    assert missing.course.stage == "waits"
    frame = load(replicates({"a": A[:1] * 3, "c": A[:1] * 3}))
    (unmeasured,) = judge(frame, [equivalent("a", "c", unit="floor")], history=History(design=design))
    assert unmeasured.course.stage == "waits", "the floor that its margin is in may be measured yet"


def test_what_was_given_up_stays_so_unless_it_is_shown(tmp_path):
    design = UntilDecided(first=3, most=6)
    (open_one,) = look(tmp_path, 3, design=design)
    frame = load(replicates({"a": A[:4], "b": UNCLEAR[:4]}))
    history = History(design=design, given_up={open_one.course.claim: 3})
    (answer,) = judge(frame, [claim()], history=history)
    assert (answer.course.stage, answer.course.seeds) == ("given up", 3)
    clear = load(replicates({"a": A, "b": [value + 9 + place / 9 for place, value in enumerate(A)]}))
    (answer,) = judge(clear, [claim()], history=history)
    assert answer.course.stage == "decided"


def test_the_steps_of_a_trend_are_shown_at_the_level_of_their_look(tmp_path):
    scores = {"a": [9.0, 9.2, 9.1, 8.9], "b": [6.0, 6.5, 6.9, 6.0], "c": [3.1, 3.9, 2.4, 3.3]}
    frame = load(replicates(scores))
    (answer,) = seen(tmp_path, frame, None, lambda history: judge(frame, [improving(*"abc")], history=history))
    assert [step.shown for step in answer.steps] == [True, True]
    assert answer.p == pytest.approx(max(step.p for step in answer.steps) / 0.75)


def test_a_history_that_is_empty_is_a_first_look():
    frame = load(replicates({"a": A, "b": UNCLEAR}))
    (answer,) = judge(frame, [claim()], history=History())
    (plain,) = judge(frame, [claim()])
    assert answer.p == pytest.approx(plain.p / 0.75)
