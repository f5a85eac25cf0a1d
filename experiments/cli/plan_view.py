"""What a plan comes to, as people see it: arms, shared trainings, costs, and what arms differ in."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from analysis.results.tunings import tuning_lines
from experiments.cli.console import paragraph, table
from experiments.plan.fitting import gigabytes, parts
from experiments.plan.plan import Plan
from experiments.plan.tuning import waiting_text


def plan_table(plan: Plan, rows: list[dict[str, Any]]) -> None:
    """The plan as a table, with totals."""
    from experiments.plan import until_decided, videos  # imports torch, which most verbs do without

    lines = []
    for row in rows:
        lines.append([
            row["arm"], row["identity"] or "after tuning", row["depth"], f"{row['parameters']:,}",
            f"{row['macs']['paper_convention'] / 1e9:,.2f}", f"{row['macs']['evaluated'] / 1e9:,.2f}",
            gigabytes(row["step_memory"]["peak"]), _seeds(row), row["state"], f"{row['gpu_hours']:.3g}",
        ])  # fmt: skip
    macs = ["G MACs (paper: thop, 3 clips)", "G MACs (a clip, as evaluated)"]
    start = f" ({plan.comes_first})" if plan.comes_first else ""
    headers = ["arm", "identity", "depth", "parameters", *macs, "memory of a step", "seeds", "state", "GPU-hours"]
    table(
        headers,
        lines,
        title=f"{plan.name}{start}: {len(rows)} arms, {sum(len(row['seeds']) for row in rows)} replicates",
    )
    paragraph(_about_memory(rows))
    for line in _about_turns(rows):
        paragraph(line)
    for line in videos.lines(plan, {row["arm"]: row["videos"] for row in rows}):
        paragraph(line)
    for line in [waiting_text(plan)] if plan.untuned else tuning_lines(plan.chosen):
        paragraph(line)
    for claim in plan.claims:
        paragraph(f"claim on {claim.axis}: {claim.statement} in {claim.metric}{claim.where}")
    if design := plan.file.experiment.until_decided:
        paragraph(until_decided.told(design, until_decided.expected(plan, rows)))
    paragraph(f"floors: {', '.join(plan.file.experiment.floors) or 'not measured'}")


def _seeds(row: Mapping[str, Any]) -> str:
    """How many seeds an arm has: `3`, or `3 to 12` where some may be added."""
    now, most = len(row["seeds"]), len(row["possible_seeds"])
    return str(now) if now == most else f"{now} to {most}"


def _about_memory(rows: list[dict[str, Any]]) -> str:
    """Say what the largest step consists of, and which arms do not fit what is stated."""
    largest = max(rows, key=lambda row: row["step_memory"]["peak"])
    memory = largest["step_memory"]
    each = f"each of {memory['processes']} " if memory["processes"] > 1 else "a "
    whose = {"GPU": "GPUs" if each != "a " else "GPU", "process": "processes" if each != "a " else "process"}
    told = f"memory of a training step of {largest['arm']}, {each}{whose[memory['of']]}: {parts(memory)}"
    large = [f"{row['arm']} ({row['step_memory']['stated']})" for row in rows if not row["step_memory"]["fits"]]
    return f"{told}; more than is stated, and refused by check and launch: {', '.join(large)}" if large else told


def _about_turns(rows: list[dict[str, Any]]) -> list[str]:
    """Say how long the Slurm tasks may take that take several replicates in turn."""
    tasks = Counter((row["task"]["replicates"], row["task"]["minutes"]) for row in rows)
    return [
        f"a Slurm task takes up to {replicates} replicates in turn, in at most {minutes / 60:.3g} hours "
        f"({replicates} x {minutes / replicates / 60:.3g}): {arms} arms"
        for (replicates, minutes), arms in tasks.items()
        if replicates > 1
    ]


def plan_totals(
    plans: Sequence[Plan], rows: Sequence[dict[str, Any]], trainings: Sequence[dict[str, Any]], total: dict[str, float]
) -> None:
    """The trainings that are shared, and what everything costs with and without sharing."""
    shared = [row for row in trainings if len(row["arms"]) > 1 or len(row["experiments"]) > 1]
    if shared:
        lines = [
            [row["training"], len(row["seeds"]), row["state"], f"{row['gpu_hours']:.3g}", ", ".join(row["arms"]),
             ", ".join(row["experiments"])]
            for row in shared
        ]  # fmt: skip
        table(["shared training", "seeds", "state", "GPU-hours", "arms", "experiments"], lines)
    experiment = plans[0].file.experiment
    sources = {
        "finished": "finished replicates", "measured": "steps measured now, without scoring",
        "arithmetic": f"arithmetic at {experiment.resources.tflops:g} TFLOP/s sustained",
    }  # fmt: skip
    told = "; ".join(text for how, text in sources.items() if any(row["gpu_hours_from"] == how for row in rows))
    screened = any(plan.file.experiment.screen for plan in plans)
    least = "; at most: what the screen stops is counted to its end" if screened else ""
    if any(plan.file.experiment.until_decided for plan in plans):
        least += "; at most: with every seed that may be added"
    alone = f" ({_hours(total['alone'])} if every arm trained alone)" if shared else ""
    left = f"still to come: {_hours(total['left'])} (from {told}{least})"
    paragraph(f"GPU-hours in all: {_hours(total['shared'])}{alone}, {left}")


def programme_rows(plans: Sequence[Plan]) -> list[dict[str, Any]]:
    """Return what all arms cost in each way, with the days on so many H100s."""
    from experiments.plan.programme import GPUS, programme

    return [
        {"way": one.way, "gpu_hours": round(one.gpu_hours, 6), "basis": one.basis,
         "days": {str(gpus): round(one.days(gpus), 6) for gpus in GPUS}}
        for one in programme(plans)
    ]  # fmt: skip


def programme_table(plans: Sequence[Plan]) -> None:
    """The same as a table; what is done already is counted as well."""
    rows = programme_rows(plans)
    headers = ["way", "H100-hours", *(f"days on {gpus}" for gpus in rows[0]["days"]), "from"]
    lines = [[row["way"], _hours(row["gpu_hours"]), *map(_hours, row["days"].values()), row["basis"]] for row in rows]
    table(headers, lines, title="the whole programme by arithmetic; no GPU was measured here")


def _hours(value: float) -> str:
    """Hours with three digits, thousands written out."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def show_differences(baseline: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """The resolved keys in which arms differ from the baseline, as `resolved_specs.differences` gives them."""
    for row in rows:
        lines = [[found["key"], found["baseline"], found["arm"]] for found in row["differences"]]
        table(["key", baseline, row["arm"]], lines, title=f"{row['arm']} against {baseline}")
