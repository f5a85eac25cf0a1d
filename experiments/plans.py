"""An experiment file -> its plan: arms, claims, replicates, what they cost and how far they are. Writes nothing."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from experiments.costs import Pace, cost, measure
from registry import strict_yaml
from registry.ablation import Arm, resolution, select
from registry.assemble import NETWORK, Assembly, values_at
from registry.claims import ResolvedClaim
from registry.counting import count_for_matching, count_network
from registry.differences import differing
from registry.errors import RunError, SpecError, did_you_mean, shortened
from registry.experiment import ExperimentFile, load_experiment
from registry.legality import overlap
from registry.resources import Shape
from registry.runs import Orphan, Replicate, open_replicate, orphans, replicates
from registry.strict_yaml import Key


@dataclass
class Plan:
    """A resolved experiment and where its runs are.

    Args:
        file: the experiment as read.
        arms: every arm, baseline first.
        claims: every claim, between two of the arms.
        runs: the folder of all runs.
        selected: the arms that this command is about.
        only: the patterns that selected them.
        folders: patterns of run folders that they were read from instead.
    """

    file: ExperimentFile
    arms: list[Arm]
    claims: list[ResolvedClaim]
    runs: Path
    selected: list[Arm]
    only: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.file.experiment.name

    @property
    def folder(self) -> Path:
        return self.runs / self.name

    @property
    def replicates(self) -> list[Replicate]:
        """The replicates of the selected arms."""
        return replicates(self.name, self.selected, self.file.experiment.seeds, self.runs)

    @property
    def all_replicates(self) -> list[Replicate]:
        return replicates(self.name, self.arms, self.file.experiment.seeds, self.runs)

    def orphans(self) -> list[Orphan]:
        """Run folders of this experiment that no arm owns any more."""
        return orphans(self.name, self.arms, self.runs)


def load_plan(
    path: Path,
    overrides: Iterable[str] = (),
    runs: Path = Path("runs"),
    only: Iterable[str] = (),
    folders: Iterable[str] = (),
    assembled: bool = False,
) -> Plan:
    """Read, validate and resolve an experiment file.

    Args:
        path: the experiment file.
        overrides: `key.path=value` words.
        runs: the folder of all runs.
        only: fnmatch patterns of arm names; `!pattern` takes away.
        folders: fnmatch patterns of run folders that are selected instead, such as those of a search's trials.
        assembled: where something is wrong, also tell what `check` would find in all that is right.

    Raises:
        SpecError: with one line for everything that is wrong.
    """
    file = load_experiment(path, overrides)
    found = resolution(file, count_for_matching)
    only, folders = tuple(only), tuple(folders)
    lines = list(found.problems)
    if lines and assembled:
        lines += assemble(file, found.checkable)[1]
    if folders and only:
        lines.append("--only selects arms and --folder run folders: give one of the two")
    try:
        selected = select(found.names if lines else [arm.name for arm in found.arms], only)
    except SpecError as error:
        lines += error.problems
    if lines:
        raise SpecError(list(dict.fromkeys(lines)))
    arms = [arm for arm in found.arms if arm.name in selected]
    plan = Plan(file, found.arms, found.claims, runs, arms, only, folders)
    return _in_folders(plan) if folders else plan


def _in_folders(plan: Plan) -> Plan:
    """The plan with the run folders that its patterns name as what is selected, each as its own files say.

    Raises:
        SpecError: there are none, or two of them have the same name of an arm.
        RunError: a folder holds no spec of this version.
    """
    names = sorted({path.parents[1].name for path in plan.folder.glob("*/seed-*/replicate.json")})
    for pattern in plan.folders:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise SpecError(f"no run folder in {plan.folder} matches {pattern!r}; {did_you_mean(pattern, names)}")
    wanted = [name for name in names if any(fnmatchcase(name, pattern) for pattern in plan.folders)]
    found = [open_replicate(path) for name in wanted for path in sorted((plan.folder / name).glob("seed-*"))]
    selected = {one.identity: Arm(one.arm, one.axes, one.spec) for one in found}
    twice = [name for name, number in Counter(arm.name for arm in selected.values()).items() if number > 1]
    if twice:
        raise SpecError(f"several run folders in {plan.folder} are of {twice[0]!r}: name one with its identity")
    seeds = tuple(sorted({one.seed for one in found}))
    file = replace(plan.file, experiment=plan.file.experiment.model_copy(update={"seeds": seeds}))
    return replace(plan, file=file, claims=[], selected=list(selected.values()))


def check(plan: Plan, with_data: bool = False) -> list[dict[str, Any]]:
    """Assemble every selected arm without memory; a row an arm: its name, identity and parameters.

    Args:
        plan: what to check.
        with_data: whether the data must be named by now; a `data.path` may also come later, on the command line.

    Raises:
        SpecError: shapes that do not go together, or files that are not there; one line each.
    """
    checked = _checked(plan, with_data)
    return [{"arm": arm.name, "identity": arm.identity, "parameters": n.parameters} for arm, n in checked]


def _checked(plan: Plan, with_data: bool = False) -> list[tuple[Arm, Any]]:
    """What `check` does, with the counts of each selected arm's network."""
    found, lines = assemble(plan.file, [(arm, []) for arm in plan.selected], with_data)
    if lines:
        raise SpecError(lines)
    return found


def assemble(
    file: ExperimentFile, arms: Sequence[tuple[Arm, Sequence[Key]]], with_data: bool = False
) -> tuple[list[tuple[Arm, Any]], list[str]]:
    """Try to assemble the parts of arms without memory.

    Args:
        file: the experiment.
        arms: each with the keys whose values nobody wrote; what depends on them is not tried.
        with_data: as in `check`.

    Returns:
        Each arm whose network could be made, with its counts; and a line for each problem.
    """
    answers: dict[tuple[Any, str], tuple[Any, list[str]]] = {}
    found: list[tuple[Arm, Any]] = []
    arms_of: dict[str, list[str]] = {}
    for arm, unknown in arms:
        own: dict[str, None] = {}
        for attempt, keys in ATTEMPTS.items():
            if any(overlap(key, tuple(other.split("."))) for key in unknown for other in keys):
                continue
            same = (attempt, values_at(arm.spec, keys))
            if same not in answers:
                answers[same] = _tried(attempt, Assembly(arm.spec, file.parts), with_data)
            counts, problems = answers[same]
            own |= dict.fromkeys(problems)
            if counts is not None:
                found.append((arm, counts))
        for text in own:
            arms_of.setdefault(text, []).append(arm.name)
    return found, [file.line(text, names, len(arms)) for text, names in arms_of.items()]


def _tried(attempt: Callable[[Assembly, bool], Any], assembly: Assembly, with_data: bool) -> tuple[Any, list[str]]:
    try:
        return attempt(assembly, with_data), []
    except SpecError as error:
        return None, error.problems
    except RunError:
        return None, []  # weights that are not on this machine are a matter of launching


def _network(assembly: Assembly, with_data: bool) -> Any:
    return count_network(assembly.spec)


def _sampler(assembly: Assembly, with_data: bool) -> None:
    assembly.sampler(assembly.objective())


def _metrics(assembly: Assembly, with_data: bool) -> None:
    assembly.metrics()


def _dataset(assembly: Assembly, with_data: bool) -> None:
    if with_data or assembly.spec.data.path is not None or assembly.spec.data.dataset.name == "moving_shapes":
        try:
            assembly.dataset()  # a path that is still to come on the command line is no mistake of the file
        except OSError as error:
            raise SpecError(f"data.path: {shortened(str(error.filename))}: {error.strerror}") from None


def _weights(assembly: Assembly, with_data: bool) -> None:
    weights = assembly.spec.data.autoencoder.parameters.get("weights")
    if weights and weights.startswith(("/", ".", "~")) and not Path(weights).expanduser().exists():
        raise SpecError(f"data.autoencoder.weights: there is no file or folder {weights!r}")


# What is assembled, and the keys of a spec that decide it: arms that agree in them are checked once.
ATTEMPTS: dict[Callable[[Assembly, bool], Any], tuple[str, ...]] = {
    _network: NETWORK,
    _sampler: ("diffusion", "sampling.sampler"),
    _metrics: ("scoring.detector", "scoring.metrics"),
    _dataset: ("data.dataset", "data.path", "data.resolution"),
    _weights: ("data.autoencoder",),
}


# The keys that decide how long a step takes.
COSTS = (*NETWORK, "diffusion", "learning.batch_size", "sampling.sampler", "sampling.guidance", "runtime")


def rows(plan: Plan, paces: Mapping[str, Pace] | None = None, defaults: Shape | None = None) -> list[dict[str, Any]]:
    """One row an arm: identity, depth, parameters, MACs in two conventions, states, GPU-hours in all and still to come.

    Args:
        plan: what is planned.
        paces: by arm, where they were measured.
        defaults: what the user's file says of the cluster, for the GPUs of a replicate.
    """
    found = []
    resources = plan.file.experiment.resources
    for arm, counts in _checked(plan):
        own = replicates(plan.name, [arm], plan.file.experiment.seeds, plan.runs)
        states = [replicate.state for replicate in own]
        one = cost(arm.name, arm.spec, resources, own, counts.evaluated, (paces or {}).get(arm.name), defaults)
        found.append({
            "arm": arm.name,
            "identity": arm.identity,
            "axes": dict(arm.axes),
            "depth": arm.spec.model.depth,
            "parameters": counts.parameters,
            "macs": {"paper_convention": counts.paper_convention, "per_clip": counts.per_clip},
            "seeds": list(plan.file.experiment.seeds),
            "state": states[0] if len(set(states)) == 1 else ", ".join(f"{n} {s}" for s, n in Counter(states).items()),
            "gpu_hours": round(one.gpu_hours * len(own), 6),
            "gpu_hours_left": round(one.gpu_hours * sum(state not in ("done", "stopped") for state in states), 6),
            "gpu_hours_from": one.how,
        })  # fmt: skip
    return found


def differences(plan: Plan) -> list[dict[str, Any]]:
    """A row for each selected arm but the baseline: the resolved keys in which it differs from that."""
    baseline = plan.arms[0]
    return [
        {
            "arm": arm.name,
            "differences": [
                {"key": key, "baseline": old, "arm": new}
                for key, old, new in differing(baseline.spec.science(), arm.spec.science())
            ],
        }
        for arm in plan.selected
        if arm.identity != baseline.identity
    ]


def specs_text(plan: Plan, form: str) -> str:
    """The resolved specs of the selected arms: YAML documents, or one JSON text with their names and identities."""
    specs = [arm.spec.model_dump(mode="json") for arm in plan.selected]
    if form == "json":
        arms = [
            {"arm": arm.name, "identity": arm.identity, "axes": dict(arm.axes), "spec": spec}
            for arm, spec in zip(plan.selected, specs, strict=True)
        ]
        return json.dumps({"experiment": plan.name, "arms": arms}, indent=1) + "\n"
    heads = (f"# {plan.name}: {arm.name}, identity {arm.identity}\n" for arm in plan.selected)
    return "---\n".join(head + strict_yaml.dump(spec) for head, spec in zip(heads, specs, strict=True))


def paces(plan: Plan, progress: Callable[[str, int, int], None]) -> dict[str, Pace]:
    """The pace of every selected arm on this machine, measured once for arms that cost the same; writes nothing."""
    known: dict[Any, Pace] = {}
    found = {}
    for number, arm in enumerate(plan.selected, 1):
        same = values_at(arm.spec, COSTS)
        if same not in known:
            known[same] = measure(arm.spec)
        found[arm.name] = known[same]
        progress("measuring the pace of arms", number, len(plan.selected))
    return found
