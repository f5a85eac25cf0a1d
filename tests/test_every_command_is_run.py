"""Every command of the README, of docs/ and of the heads of experiments is run by a test, or said not to be and why.

Where a page has a test of its own the table names it. The others are run here, in a folder like a new checkout, at toy
size and one behind the other, so that they share their runs.
"""

import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from experiments.cli.app import app
from experiments.tracking import mlflow_sync
from registry.runs.machine import ROOT
from tests.fixtures.made_videos import gradient_frames, write_video
from tests.test_commands_of_pages import HEADS, PAGES, commands, is_a_command

NOT_HERE = {
    "weights": "weights of gigabytes from the network",
    "the whole": "the quickstart as it stands takes minutes: .ci/run and `make quickstart` do it",
    "paper": "days of GPUs and the paper's data: one runs at toy size in tests/test_coming_from.py, all are planned "
    "in tests/cli/test_verbs.py (the whole programme), and those of beyond/ are checked for docs/learning.md",
    "programme": "an hour of two cores or more: tests/experiments/plan/test_small_programme.py resolves all of it",
    "form": "a form with places to fill in, of a command that another line of the table runs",
    "writes here": "writes into this checkout; tests/cli/test_keys.py holds the file to what it prints",
}
DRY = ("--dry-run", "--executor", "local")  # all but the training: that takes the data, a GPU and hours
TINY = (
    "learning.steps=2", "learning.batch_size=2", "sampling.clips=4", "sampling.sampler.steps=2", "scoring.real_clips=8",
    "runtime.threads=1", "runtime.device=cpu", "floors=[]",
)  # fmt: skip
SMALL = (*TINY, "model.width=16", "model.heads=2", "model.depth=2")
QUICK = (*SMALL, "data.dataset.videos=16", "seeds=[0, 1]", "match=null")
YOURS = (
    *(word for word in SMALL if "sampler" not in word), "sampling.sampler={name: ddim, steps: 2}", "model.size=null",
    "data.resolution=16",
    "data.frames=4", "data.autoencoder={name: pixels, factor: 4}", "data.interval=1", "seeds=[0]",
    "scoring.protocol=demo",
)  # fmt: skip
CLASSES = ("jump", "run", "walk", "wave")
SHOWN = (*SMALL, "learning.lr_schedule=constant")  # fewer steps than the warm-up of the showcase
STILLS = {
    "width: 128, heads: 4, depth: 4": "width: 16, heads: 2, depth: 2",
    "steps: 3000, batch_size: 64": "steps: 2, batch_size: 2",
    "{name: cosine, warm_up_steps: 50}": "constant",
    "{name: ddim, steps: 25}": "{name: ddim, steps: 2}",
    "clips: 20": "clips: 4",
}


@dataclass(frozen=True)
class Here:
    """A command is run here.

    Args:
        more: words behind it, so that it takes seconds.
    """

    more: tuple[str, ...] = ()


How = Here | str  # a test, `tests/….py::test_…`, or the key of a reason
# page -> how the command begins -> how it is run; the longest beginning counts. Heads of experiments that are not here:
# those of the paper's size are not run, the others are, but for the training.
TABLE: dict[str, dict[str, How]] = {
    "README.md": {
        "plan conditioning.yaml": Here(YOURS),
        "launch conditioning.yaml": Here((*YOURS, "--executor", "debug")),
        "verdict conditioning.yaml": Here(YOURS),
        "launch experiments/showcase.yaml experiments/captioned_shapes.yaml": Here((*SHOWN, "--executor", "debug")),
        "table experiments/quickstart.yaml": Here(QUICK),
        "verdict --paper": Here(),
        "dashboard ": "tests/cli/test_dashboard.py::test_dashboard_serves_what_was_launched_and_ends_cleanly",
        "launch experiments/latte/": "tests/test_coming_from.py::test_training",
        "launch experiments/latte/faceforensics.yaml data.path=PATH resources":
            "tests/test_coming_from.py::test_training_on_several_gpus_and_on_slurm",
        "launch experiments/latte/faceforensics.yaml data.path=PATH --executor":
            "tests/test_coming_from.py::test_training_on_several_gpus_and_on_slurm",
        "launch experiments/latte/faceforensics.yaml data.path=PATH learning.init":
            "tests/test_coming_from.py::test_training_from_an_image_network",
        "sample FILE": "tests/test_coming_from.py::test_sampling",
        "sample-text": "tests/test_coming_from.py::test_text_to_video",
        "score": "tests/test_coming_from.py::test_scoring",
        "fetch-weights": "tests/test_coming_from.py::test_released_weights_are_named",
        "checkpoint export RUN":
            "tests/cli/test_checkpoint.py::test_a_file_is_shown_imported_sampled_and_exported_as_it_was",
    },
    "CONTRIBUTING.md": {"launch": "the whole"},
    "docs/autoencoders.md": {
        "": "tests/test_autoencoders_page.py::test_the_commands_run_and_latents_are_standardised",
    },
    "docs/checkpoints.md": {"": "tests/test_checkpoints_page.py::test_commands_and_python_of_the_page_work"},
    "docs/comparing.md": {"": "tests/cli/test_comparing.py::test_the_page_of_comparisons_is_what_happens"},
    "docs/datasets.md": {"": "tests/cli/test_datasets.py::test_the_commands_of_the_page_work"},
    "docs/experiment-files.md": {"check my.yaml": "form"},
    "docs/extending.md": {
        "check waves": "tests/test_extending.py::test_a_part",
        "launch waves": "tests/test_extending.py::test_a_part",
        "table waves": "tests/test_extending.py::test_a_part",
        "prepare stills": "tests/test_extending.py::test_a_dataset",
        "launch stills": "tests/test_extending.py::test_a_dataset",
        "launch motion": "tests/test_extending.py::test_a_detector",
        "verdict motion": "tests/test_extending.py::test_a_detector",
        "launch letters": "tests/test_extending.py::test_a_text_encoder",
        "plan averages": "tests/test_extending.py::test_a_slot",
        "launch averages": "tests/test_extending.py::test_a_slot",
        "parts": Here(),
        "keys": "writes here",
    },
    "docs/initialisation.md": {"": "tests/test_initialisation_page.py::test_a_command_of_the_page_works"},
    "docs/keys.md": {"keys": Here()},
    "docs/learning.md": {
        "": "tests/cli/test_learning_page.py::test_a_command_of_the_page",
    },
    "docs/mlflow.md": {
        "sync": "tests/cli/test_verbs.py::test_sync",
        "dashboard": "tests/cli/test_dashboard.py::test_dashboard_serves_what_was_launched_and_ends_cleanly",
    },
    "docs/parts.md": {"plan": "tests/cli/test_verbs.py::test_plan_of_the_paper_has_its_figures"},
    "docs/performance.md": {"plan": "tests/cli/test_verbs.py::test_the_papers_whole_programme_has_one_total"},
    "docs/quickstart.md": {"table": Here(QUICK)},
    "docs/real-videos.md": {
        "launch": Here(DRY),
        "score": "tests/cli/test_score.py::test_a_run_is_scored_by_its_own_protocol",
    },
    "docs/reports.md": {"": "tests/test_reports_page.py::test_every_command_works_and_writes_what_the_page_names"},
    "docs/results.md": {
        "verdict --paper": Here(), "sync FILE": "tests/cli/test_verbs.py::test_sync",
        "launch experiments/latte/small/": "programme",
    },
    "docs/sampling.md": {"": "tests/cli/test_sample.py::test_each_command_of_the_page_works"},
    "docs/scores.md": {
        "score": "weights",
        "score my_samples --against real_videos --metrics":
            "tests/cli/test_nearest_training.py::test_copies_are_told_from_honest_samples",
        "fetch-weights": "weights",
    },
    "docs/slurm.md": {
        "launch FILE --executor slurm --dry-run":
            "tests/slurm/test_launch_fake.py::test_a_dry_run_shows_the_scripts_and_writes_nothing",
        "launch FILE --executor slurm ":
            "tests/slurm/test_launch_fake.py::test_the_same_numbers_as_here_then_nothing_again",
        "status": "tests/cli/test_verbs.py::test_status",
        "logs": "tests/cli/test_verbs.py::test_logs",
        "cancel": "tests/slurm/test_launch_fake.py::test_cancel_waits_for_retry_and_the_result_is_the_undisturbed_one",
        "retry": "tests/slurm/test_launch_fake.py::test_cancel_waits_for_retry_and_the_result_is_the_undisturbed_one",
    },
    "docs/statistics.md": {"launch": Here((*SMALL, "data.dataset.videos=16", "seeds=[0, 1]", "--executor", "debug"))},
    "docs/text.md": {
        "sample-text": "tests/cli/test_sample_text.py::test_commands_of_the_page",
        "checkpoint show": "tests/cli/test_sample_text.py::test_the_weights_of_a_pipeline_are_shown_and_written",
        "checkpoint export": "tests/cli/test_sample_text.py::test_the_weights_of_a_pipeline_are_shown_and_written",
        "checkpoint import": "tests/cli/test_sample_text.py::test_published_weights_are_drawn_from_and_imported",
        "sample Latte-1": "tests/cli/test_sample_text.py::test_published_weights_are_drawn_from_and_imported",
        "launch captioned.yaml": "tests/cli/test_text_training.py::test_the_page_is_typed_as_it_stands",
        "sample runs/captioned": "tests/cli/test_text_training.py::test_the_page_is_typed_as_it_stands",
        "launch experiments/captioned_shapes":
            "tests/cli/test_captioned_shapes.py::test_the_page_is_typed_as_it_stands",
        "sample runs/captioned-shapes": "tests/cli/test_captioned_shapes.py::test_the_page_is_typed_as_it_stands",
    },
    "docs/validity.md": {
        "score first-0": "tests/experiments/validity/test_validity.py::test_the_suite_measures_as_score_does",
        "score SAMPLES": "tests/cli/test_score.py::test_scores_json_has_what_is_needed_to_trust_a_number",
        "fetch-weights": "weights",
    },
    "experiments/quickstart.yaml": {"launch": Here((*QUICK, "--executor", "debug"))},
    "experiments/showcase.yaml": {"launch": Here((*SHOWN, "--executor", "debug"))},
    "experiments/showcase_stills.yaml": {"launch": Here((*SHOWN, "--executor", "debug"))},
    "experiments/showcase_guidance.yaml": {"launch": Here((*SHOWN, "--executor", "debug"))},
    "experiments/captioned_shapes.yaml": {
        "launch": "tests/cli/test_captioned_shapes.py::test_the_page_is_typed_as_it_stands",
    },
}  # fmt: skip


@dataclass(frozen=True)
class Command:
    """A command as a page has it.

    Args:
        page: relative to the root.
        words: behind the program's name.
    """

    page: str
    words: tuple[str, ...]

    @property
    def text(self) -> str:
        """Return it as one line."""
        return " ".join(self.words)

    @property
    def how(self) -> How | None:
        """Return how it is run, None where the table does not say."""
        own = TABLE.get(self.page)
        if own is None and self.page.startswith("experiments/"):
            if self.page.startswith("experiments/latte/small/"):
                return "programme"
            return "paper" if self.page.startswith("experiments/latte/") else Here(DRY)
        fitting = [start for start in own or () if f"{self.text} ".startswith(start)]
        return (own or {})[max(fitting, key=len)] if fitting else None


def every_command() -> list[Command]:
    """Return all, in the order of the pages; the heads first, which make what pages look at."""
    found = []
    for path in [*reversed(HEADS), *PAGES]:
        for line in filter(is_a_command, commands(path)):
            words = shlex.split(line, comments=True)
            ends = [words.index(mark) for mark in (">", "|", "&&") if mark in words]
            page = str(path.relative_to(ROOT))
            found.append(Command(page, tuple(words[: min(ends, default=len(words))])))
    return found


EVERY = every_command()


def test_the_table_knows_every_command_and_nothing_else() -> None:
    unknown = [f"{one.page}: {one.text}" for one in EVERY if one.how is None]
    assert not unknown, "say in the table how these are run"
    for page, own in TABLE.items():
        for start in own:
            assert any(one.page == page and f"{one.text} ".startswith(start) for one in EVERY), f"{page}: no {start!r}"


def test_the_tests_that_the_table_names_are_there() -> None:
    for own in TABLE.values():
        for how in own.values():
            if isinstance(how, str) and "::" in how:
                file, _, name = how.partition("::")
                assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), how
            else:
                assert isinstance(how, Here) or how in NOT_HERE, how


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder like a new checkout's, with videos of somebody, in which all commands are typed."""
    folder = tmp_path_factory.mktemp("workplace")
    for path in HEADS:
        copy = folder / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    # What arms start from is launched as its file says, whatever the command overrides.
    start = folder / "experiments" / "showcase_stills.yaml"
    text = start.read_text(encoding="utf-8")
    for long, short in STILLS.items():
        assert long in text
        text = text.replace(long, short)
    start.write_text(text, encoding="utf-8")
    for number in range(16):
        frames = gradient_frames(24, 24, 24, seed=number)
        write_video(folder / "my_videos" / CLASSES[number % 4] / f"{number}.mp4", frames)
    (folder / "PATH").symlink_to("my_videos")
    (readme,) = re.findall(r"```yaml\n(name: conditioning.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    (folder / "conditioning.yaml").write_text(readme, encoding="utf-8")
    here = Path.cwd()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mlflow_sync, "try_sync", lambda *words: "")  # has tests of its own
        patch.setenv("OMP_NUM_THREADS", "1")
        os.chdir(folder)
        yield folder
        os.chdir(here)


def test_the_commands_that_the_table_gives_to_this_file(workplace: Path) -> None:
    """In the order of the pages, and in one test: `table` reads what the `launch` of another line has made."""
    failed = {}
    for command in {(one.words, one.how): one for one in EVERY if isinstance(one.how, Here)}.values():  # once each
        assert isinstance(command.how, Here)
        words = [word.replace("PATH/TO/weizmann", "PATH").replace("…/weizmann", "PATH") for word in command.words]
        told = CliRunner().invoke(app, [*words, *command.how.more])
        if told.exit_code != 0:
            failed[f"{command.page}: {command.text}"] = told.output
    assert failed == {}
