"""What verbs share: their options, their errors for people, and the plans of their files."""

import contextlib
import functools
import math
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from registry.errors import RunError, SpecError

if TYPE_CHECKING:
    from experiments.plan.plan import Plan

Verb = Callable[..., None]
FOLDER = click.Path(path_type=Path)


class Finite(click.FloatRange):
    """A number within a range; neither infinity, which bounds nothing, nor NaN, which nothing exceeds."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


def completed(what: str) -> Callable[[click.Context, click.Parameter, str], Any]:
    """Return the function of `experiments.cli.completion` of that name, which is imported when the shell asks."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> Any:
        from experiments.cli import completion

        return getattr(completion, what)(context, parameter, incomplete)

    return complete


RUNS = click.option("--runs", type=FOLDER, default=Path("runs"), show_default=True, help="Folder of all runs.")
FOLDERS = click.option(
    "--folder", "folders", multiple=True, metavar="PATTERN",
    help="Run folders by name (fnmatch) instead of arms, such as 'trial-3-*' of a search.",
)  # fmt: skip
MEASURE = click.option(
    "--measure", is_flag=True, help="Take a few steps of every arm here, and count the cost by them."
)
EXECUTOR = click.option(
    "--executor",
    type=click.Choice(["local", "slurm", "debug"]),
    default="local",
    show_default=True,
    help="local: a pool of processes; slurm: job arrays; debug: in this process, the first failure is raised.",
)
PLUGINS = click.option("--plugin", "plugins", multiple=True, metavar="MODULE", help="Also read parts from this module.")
FORMAT = click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", help="How to print.")
ONLY = click.option("--only", multiple=True, metavar="PATTERN", help="Arms by name (fnmatch; !PATTERN takes away).")


def _take_stage(context: click.Context, option: click.Parameter, given: bool) -> None:
    """Hand a verb the stage of the experiment that it is about, of which a command can name one.

    Raises:
        click.UsageError: it names both.
    """
    if given and context.params.setdefault("stage", option.name) != option.name:
        raise click.UsageError("--tuning and --screen name two stages of the experiment: give one of the two")


TUNING = click.option(
    "--tuning", is_flag=True, expose_value=False, callback=_take_stage,
    help="The experiment's tuning in its place: the short trainings of `tune`.",
)  # fmt: skip
SCREEN = click.option(
    "--screen", is_flag=True, expose_value=False, callback=_take_stage,
    help="In its place what its `screen` has sampled and scored at the rungs.",
)  # fmt: skip
_FILE = click.argument("file", type=FOLDER)
OVERRIDES = click.argument("overrides", nargs=-1, metavar="[KEY.PATH=VALUE]...", shell_complete=completed("overrides"))
_FILES = click.argument(
    "words",
    nargs=-1,
    required=True,
    metavar="FILE... [KEY.PATH=VALUE]...",
    shell_complete=completed("files_and_overrides"),
)


def verb(
    *,
    on_experiment: bool = True,
    several: bool = False,
    formats: bool = False,
    selects: bool = True,
    assembles: bool = False,
    untuned: bool = False,
) -> Callable[[Verb], Verb]:
    """Give a verb what all verbs share: errors for people, and on an experiment its plan.

    Args:
        on_experiment: the verb takes FILE, overrides and --runs, and is called with the plan that they give.
        several: it takes several files, and is called with the list of their plans.
        selects: it also takes --only.
        formats: it also takes --format.
        assembles: it also finds what is wrong with parts when they are assembled, and tells it with all the rest.
        untuned: it also takes an experiment whose arms are not tuned yet.
    """
    options = [] if not on_experiment else [_FILES, RUNS] if several else [_FILE, OVERRIDES, RUNS]
    options += [ONLY] if on_experiment and selects else []
    options += [TUNING, SCREEN] if on_experiment else []
    options += [FORMAT] if formats else []

    def wrap(function: Verb) -> Verb:
        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> None:
            with errors_for_people():
                plans = [_plans(kwargs, several, assembles, untuned)] if on_experiment else []
                function(*plans, *args, **kwargs)

        return functools.reduce(lambda wrapped, option: option(wrapped), reversed(options), called)

    return wrap


@contextlib.contextmanager
def errors_for_people() -> Iterator[None]:
    """Print what is wrong, a line each, and exit: 2 where something was written wrongly, 1 where something failed."""
    from experiments.cli.console import complain

    try:
        yield
    except SpecError as error:
        complain(error.problems)
        sys.exit(2)
    except RunError as error:
        complain([str(error)])
        sys.exit(1)
    except BrokenPipeError:  # nobody reads what is printed any more
        raise
    except OSError as error:  # a folder that cannot be made or written, a full disk
        complain([": ".join(map(str, filter(None, [error.filename, error.strerror or error])))])
        sys.exit(1)


def _plans(words: dict[str, Any], several: bool, assembled: bool, untuned: bool) -> "Plan | list[Plan]":
    """Take what names plans out of a command's words, and return the plan, or the list of plans.

    Raises:
        RunError: arms of an experiment are not tuned yet, and the verb needs them.
    """
    from experiments.plan.loading import load_plan
    from experiments.plan.tuning import refuse_untuned

    given: dict[str, Any] = {
        name: words.pop(name) for name in ("overrides", "runs", "only", "folders", "stage") if name in words
    }
    given["assembled"] = assembled
    plans = plans_of(words.pop("words"), given) if several else [load_plan(words.pop("file"), **given)]
    for plan in [] if untuned else plans:
        refuse_untuned(plan)
    return plans if several else plans[0]


OVERRIDE = re.compile(r"[A-Za-z_][\w.]*=")


def plans_of(words: Sequence[str], given: dict[str, Any]) -> "list[Plan]":
    """Return the plan of each file among the words, with the overrides among them; what arms start from comes first.

    Among several files those whose name begins with `_` are passed over, and named: others are based on them, and
    they are no experiments, but `latte/*.yaml` names them as well.

    Raises:
        SpecError: with all that is wrong with any of them.
    """
    from experiments.cli.console import complain
    from experiments.plan.loading import load_plan
    from experiments.plan.starts import with_starts
    from experiments.plan.together import with_later_evaluations

    files = [Path(word) for word in words if not OVERRIDE.match(word)]
    overrides = [word for word in words if OVERRIDE.match(word)]
    if not files:
        raise SpecError("name at least one experiment file")
    if len(files) > 1 and (bases := [file for file in files if file.name.startswith("_")]):
        complain(
            f"{file}: is passed over: a name with _ in front is that of a base, not of an experiment" for file in bases
        )
        files = [file for file in files if file not in bases]
    plans, wrong = [], []
    for file in dict.fromkeys(files):
        try:
            plans.append(load_plan(file, overrides, **given))
        except SpecError as error:
            wrong += error.problems
    by_name: dict[str, Path] = {}
    for plan in plans:
        if (other := by_name.setdefault(plan.name, plan.file.path)) != plan.file.path:
            wrong.append(f"{plan.file.path}: name: {other} has the name {plan.name!r} as well; give each file its own")
    if wrong:
        raise SpecError(list(dict.fromkeys(wrong)))
    return with_later_evaluations(with_starts(plans))
