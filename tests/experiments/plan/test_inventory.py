"""What nothing refers to, and that what somebody begins to use meanwhile stays."""

import os
import shutil
from pathlib import Path

from experiments.plan.inventory import prune, unreferenced
from registry.runs.places import TRAININGS
from tests.fixtures.toy_replicates import made


def test_what_is_used_again_while_the_question_stands_stays(tmp_path: Path) -> None:
    (replicate,), runs = made(tmp_path, "floors=[]", "seeds=[0]", "claim=[]"), tmp_path / "runs"
    shutil.rmtree(runs / "toy")
    found = [one for one in unreferenced(runs) if one.path == replicate.training]
    assert [(one.what, one.kept) for one in found] == [("training", "")]
    made(tmp_path, "floors=[]", "seeds=[0]", "claim=[]")  # a colleague launches it again
    assert prune(runs, found) == 0
    assert replicate.training.is_dir()
    shutil.rmtree(runs / "toy")
    assert prune(runs, found) > 0
    assert not replicate.training.exists()


def test_a_training_that_is_just_being_made_is_kept(tmp_path: Path) -> None:
    training = tmp_path / TRAININGS / "0123456789" / "seed-0"
    training.mkdir(parents=True)
    assert [one.kept for one in unreferenced(tmp_path)] == ["somebody may be making it"]
    os.utime(training, (0, 0))
    assert [one.kept for one in unreferenced(tmp_path)] == [""]
