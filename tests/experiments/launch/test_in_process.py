"""The executor `debug` runs what this process has imported, and says so where that is no longer what is written."""

from pathlib import Path

import pytest

from experiments.launch.executor import ExecutorOptions
from experiments.launch.in_process import InProcess
from registry.errors import RunError
from registry.runs.records import State
from tests.fixtures.toy_replicates import TOY, make_all, plan_of, write

PLUGIN = """
from components.model.blocks import Variant1
from registry.parts.catalogue import part

from edited_in_between_helper import NUMBER


@part("blocks", "edited_in_between")
class EditedInBetween(Variant1):
    '''Variant 1 by another name.

    Source: none
    Official code: no
    '''

    number = NUMBER
"""
HELPER = "NUMBER = 1\n"


def test_code_that_was_edited_after_it_ran_here_is_not_run_as_if_it_were_new(tmp_path: Path) -> None:
    plugin, helper = tmp_path / "edited_in_between.py", tmp_path / "edited_in_between_helper.py"
    plugin.write_text(PLUGIN)
    helper.write_text(HELPER)
    write(tmp_path, TOY.split("ablate:")[0] + "seeds: [0]\nfloors: []\nplugins: [edited_in_between]\n")
    words = ("model.blocks=edited_in_between", "learning.steps=2")
    first_plan = plan_of(tmp_path, *words)
    (first,) = make_all(first_plan)
    assert InProcess.open(first_plan, ExecutorOptions()).submit([first]) == [first.name]
    assert first.state is State.DONE

    plan = plan_of(tmp_path, *words, "learning.learning_rate=2e-3")
    (second,) = make_all(plan)
    helper.write_text("NUMBER = 234\n")
    with pytest.raises(RunError, match=r"model\.blocks\.edited_in_between: edited since this Python process"):
        InProcess.open(plan, ExecutorOptions()).submit([second])
    assert second.state.startable
    helper.write_text("# Comments do not count.\nNUMBER = 1\n")
    assert InProcess.open(plan, ExecutorOptions()).submit([second]) == [second.name]
