"""Kill a sweep's jobs at random moments, and show that nothing comes of it: same results, same points in MLflow.

    python -m tests.slurm.kills --kills 20 --out kills.md

Runs on the real Slurm where one answers (`make slurm-up`), else on the fake one. Exits with 1 if a row differs.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.runs.attempts import ATTEMPTS, latest
from registry.runs.records import Attempt
from registry.runs.replicate import Replicate
from tests.slurm.clusters import Cluster, fake_cluster, real_cluster, why_no_real
from tests.slurm.sweep import Sweep, points_of_file, points_of_mlflow, unequal_scores
from tests.waiting import until

REST = """
ablate: {model.blocks: [variant_1, variant_4]}
seeds: [0, 1]
resources: {memory: 1G, time: 30m, parallel: 4}
"""
PACE = 1.0  # seconds a step and a sampled batch, so that a replicate takes about a minute
LONGEST_PAUSE = 4.0  # seconds between two kills
MOST = 3  # kills of one replicate, so that they are spread over the sweep


@dataclass
class Kill:
    """One kill, and when it struck."""

    how: str
    moment: str
    replicate: Replicate


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments, victims and kinds")
    parser.add_argument("--out", type=Path, help="file for the table, in Markdown; it is printed in any case")
    parser.add_argument("--fake", action="store_true", help="on the fake Slurm, even where a real one answers")
    asked = parser.parse_args()
    fake = asked.fake or bool(why_no_real())
    folder = Path(tempfile.mkdtemp(prefix="kills-"))
    print(f"runs in {folder}, which stays unless all is well", file=sys.stderr)
    with fake_cluster(folder / "slurm") if fake else real_cluster() as found:
        sweep = Sweep(folder / "sweep", REST, found, PACE)
        with _environment(found):
            kills, rounds = disturbed(sweep, asked.kills, random.Random(asked.seed))
        lines, wrong = table(sweep, kills, rounds)
    if not wrong:
        shutil.rmtree(folder)
    kind = "the fake Slurm" if fake else "a real Slurm"
    text = "\n".join([f"{len(kills)} kills on {kind}, moments drawn with seed {asked.seed}.", "", *lines]) + "\n"
    print(text)
    if asked.out:
        asked.out.write_text(text, encoding="utf-8")
    print(f"{wrong} rows differ", file=sys.stderr)
    return int(wrong > 0)


@contextlib.contextmanager
def _environment(cluster: Cluster) -> Any:
    """The cluster's commands on the PATH of this process."""
    before = dict(os.environ)
    os.environ.update(cluster.environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def disturbed(sweep: Sweep, wanted: int, chance: random.Random) -> tuple[list[Kill], list[str]]:
    """Run the sweep with kills until all is done; a sweep that is done too early goes on with further seeds.

    Returns:
        The kills, and the overrides of the rounds that were needed.
    """
    kills: list[Kill] = []
    rounds: list[str] = []
    while len(kills) < wanted or not rounds:
        rounds.append(f"seeds=[{2 * len(rounds)},{2 * len(rounds) + 1}]")
        words = rounds[-1]
        sweep.verb("launch", "--executor", "slurm", words)
        strike = time.monotonic() + chance.uniform(0, LONGEST_PAUSE)
        while True:
            rows = sweep.rows(words)
            states = {row["state"] for row in rows.values()}
            assert "failed" not in states, f"a replicate has failed: {rows}"
            if states == {"done"}:
                break
            if "interrupted" in states or "missing" in states:  # killed: launching again goes on with them
                sweep.verb("launch", "--executor", "slurm", words)
            if time.monotonic() >= strike and len(kills) < wanted:
                struck = Counter(kill.replicate.name for kill in kills)
                victims = [each for each in sweep.plan(words).replicates if each.state == "running"]
                victims = [each for each in victims if struck[each.name] < MOST]
                fewest = min((struck[each.name] for each in victims), default=0)
                victims = [each for each in victims if struck[each.name] == fewest]
                if victims and (kill := _kill(sweep, chance.choice(victims), chance)):
                    kills.append(kill)
                    print(f"{len(kills)}: {kill.how}, {kill.moment}, {kill.replicate.name}", file=sys.stderr)
                strike = time.monotonic() + chance.uniform(0, LONGEST_PAUSE)
            time.sleep(0.5)
        until(lambda: not sweep.jobs(), "the report job has ended")
    return kills, rounds


def _kill(sweep: Sweep, replicate: Replicate, chance: random.Random) -> Kill | None:
    """Kill a running replicate in a way that chance chooses; None where it had just ended."""
    attempt = latest(replicate.training / ATTEMPTS, Attempt)
    assert attempt is not None, "it runs"
    beat = replicate.heartbeat()
    moment = f"{beat.stage}, step {beat.step}" if beat else "training, step 0"

    def by_signal() -> None:
        os.kill(attempt.pid, signal.SIGKILL)

    def by_requeue() -> None:
        sweep.cluster.ask("scontrol", "requeue", attempt.job or "")

    def by_cancel() -> None:
        mine = ["--only", replicate.arm, f"seeds=[{replicate.seed}]"]
        sweep.verb("cancel", *mine)
        until(lambda: sweep.rows(*mine)[replicate.name]["state"] in ("cancelled", "done"), "it has been cancelled")
        sweep.verb("retry", "--executor", "slurm", *mine)

    ways: dict[str, Callable[[], None]] = {
        "kill -9": by_signal,
        "scontrol requeue": by_requeue,
        "cancel + retry": by_cancel,
    }
    how = chance.choice([*ways])
    try:
        ways[how]()
    except ProcessLookupError:
        return None
    return Kill(how, moment, replicate)


def table(sweep: Sweep, kills: list[Kill], rounds: list[str]) -> tuple[list[str], int]:
    """The rows of Markdown, one a kill, and how many of them tell of a difference."""
    calm: dict[str, Replicate] = {}
    for words in rounds:
        runs = sweep.undisturbed(words)
        calm |= {each.name: each for each in sweep.plan(words, runs=runs).replicates}
        sweep.verb("sync", words)
    lines = [
        "| # | kill | moment | replicate | attempts | result equals the undisturbed one | points in MLflow and file |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    wrong = 0
    for number, kill in enumerate(kills, 1):
        one, other = kill.replicate, calm[kill.replicate.name]
        unequal = unequal_scores(one.result(), other.result())
        tracked = points_of_mlflow(sweep.plan(rounds[0]), f"{one.identity}/seed-{one.seed}")
        filed = points_of_file(one)
        told = f"{len(tracked)} and {len(filed)}"
        same = len(tracked) == len(filed) and dict(tracked) == filed
        if not same:
            told += ", not the same"
        if filed != points_of_file(other):
            same = False
            told += ", other points than undisturbed"
        wrong += bool(unequal) or not same
        equal = "yes" if not unequal else f"no: {', '.join(unequal)}"
        lines.append(
            f"| {number} | {kill.how} | {kill.moment} | {one.name} | {len(one.attempts())} | {equal} | {told} |"
        )
    return lines, wrong


if __name__ == "__main__":
    sys.exit(main())
