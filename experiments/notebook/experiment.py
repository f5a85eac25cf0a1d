"""An experiment written in Python: the schema of the files, so that grids with loops need no YAML."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from experiments.cli.progress import Bars
from experiments.launch.tuning import settled
from experiments.plan.loading import load_plan
from experiments.plan.plan import Plan
from experiments.plan.rows import rows
from experiments.plan.starts import with_starts
from experiments.search import workflow
from registry import strict_yaml
from registry.errors import RunError, SpecError
from registry.parts.catalogue import read_edited_again
from registry.runs.files import write_atomically

if TYPE_CHECKING:
    from analysis.reading.experiment_results import ExperimentResults

HEAD = "# Written by experiments.Experiment from Python: change it there, or remove this line and keep the file."


class Experiment:
    """An experiment whose sections are given from Python; it is written to a file that the command line takes as well.

    `Experiment("depths", base={"model": {"width": 96}}, ablate={"model.depth": [n for n in range(2, 9, 2)]})`

    Args:
        name: of the experiment.
        file: where it is written; left out: `<name>.yaml` in the current folder.
        sections: the keys of an experiment file (docs/keys.md): `base` (sections, or the path of another experiment's
            file), `set`, `ablate`, `grid`, `zip`, `arms`, `seeds`, `claim`, `match`, `resources`, and so on. Numbers of
            numpy, tuples and paths are taken as well.

    Raises:
        SpecError: a value that no file can hold, or the file is there and was not written from Python.
    """

    def __init__(self, name: str, *, file: str | Path | None = None, **sections: Any) -> None:
        self.name, self.file = name, Path(file) if file is not None else Path(f"{name}.yaml")
        text = f"{HEAD}\n{strict_yaml.dump({'name': name, **_plain(sections, '')})}"
        try:
            there = self.file.read_text(encoding="utf-8")
        except FileNotFoundError:
            there = HEAD
        if not there.startswith(HEAD):
            raise SpecError(f"{self.file}: is there, and was not written from Python: give another file=…")
        if there != text:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.file, text)

    def __repr__(self) -> str:
        return f"Experiment({self.name!r}, file={str(self.file)!r})"

    def plan(self, *overrides: str, runs: str | Path = "runs", only: Sequence[str] = ()) -> pd.DataFrame:
        """Return a row for each arm, as the verb `plan` shows them; nothing is written.

        Args:
            overrides: `key.path=value`, as behind the verb.
            runs: the folder of all runs.
            only: patterns of arm names; `!pattern` takes away.

        Returns:
            The columns `arm`, one an axis, `macs` (of a clip, as evaluated), `identity`, `depth`, `parameters`,
            `seeds`, `state`, `gpu_hours`, `gpu_hours_left`.

        Raises:
            SpecError: with a line for everything that is wrong.
        """
        found = rows(self._plan(overrides, runs, only))
        kept = ("identity", "depth", "parameters", "seeds", "state", "gpu_hours", "gpu_hours_left")
        return pd.DataFrame(
            [
                {"arm": row["arm"], **row["axes"], "macs": row["macs"]["evaluated"], **{key: row[key] for key in kept}}
                for row in found
            ]
        )

    def launch(
        self,
        *overrides: str,
        executor: str = "local",
        runs: str | Path = "runs",
        only: Sequence[str] = (),
        wait: bool = True,
    ) -> "ExperimentResults":
        """Run what is not done, with tunings and what arms start from before it, and return the results.

        Interrupted and launched again it goes on where it was, as the verb `launch` does.

        Args:
            overrides: `key.path=value`, as behind the verb.
            executor: `local` (a pool of processes), `slurm` (job arrays) or `debug` (this process).
            runs: the folder of all runs.
            only: patterns of arm names; `!pattern` takes away.
            wait: on Slurm, return when nothing waits or runs any more, and not before.

        Raises:
            SpecError: with a line for everything that is wrong.
            RunError: replicates ended without a result; the message has a line for each. The others are kept.
        """
        for planned in with_starts([self._plan(overrides, runs, only)]):
            plan = settled(planned)
            with Bars() as bars:
                outcome = workflow.launch(plan, executor, wait=wait or bool(plan.comes_first), watcher=bars)
            if outcome.unfinished:
                raise RunError("\n".join(outcome.unfinished))
        return self.results(*overrides, runs=runs)

    def results(self, *overrides: str, runs: str | Path = "runs") -> "ExperimentResults":
        """Return what there is of its results: `analysis.load` of its file.

        Args:
            overrides: those that it was launched with.
            runs: the folder of all runs.

        Raises:
            RunError: it was not launched yet.
        """
        import analysis

        return analysis.load(self.file, runs=runs, overrides=overrides)

    def _plan(self, overrides: Sequence[str], runs: str | Path, only: Sequence[str]) -> Plan:
        read_edited_again()  # plug-ins are edited between two cells
        return load_plan(self.file, overrides, Path(runs), only, assembled=True)


def _plain(value: Any, key: str) -> Any:
    """Return a value as YAML can hold it.

    Raises:
        SpecError: it is of a kind that no file can hold.
    """
    if isinstance(value, Mapping):
        return {str(name): _plain(own, f"{key}.{name}".lstrip(".")) for name, own in value.items()}
    if isinstance(value, (list, tuple, range)):
        return [_plain(own, key) for own in value]
    if hasattr(value, "tolist"):  # numbers and arrays of numpy, columns of pandas
        return _plain(value.tolist(), key)
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    raise SpecError(f"{key}: expected numbers, texts, lists or mappings, got {type(value).__name__}")
