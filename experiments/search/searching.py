"""The policy of a search: asks for trials, has them run as replicates, prunes them, and says what came of them.

All that it knows is in the journal and in the run folders. So its controller can be killed at any moment and started
again: each round it reads what there is, decides, and writes each decision before it acts on it.
"""

import math
from collections.abc import Callable, Sequence

from experiments.launch.controller import Controller, Launched, Wants, Watch
from experiments.launch.executor import Executor, ExecutorOptions, RefusedError
from experiments.launch.executors import EXECUTORS, opened
from experiments.launch.launching import stop_for_good
from experiments.plan.check import check
from experiments.plan.plan import Plan
from experiments.plan.starts import refuse_missing
from experiments.record.lease import leased
from experiments.record.progress import Progress
from experiments.record.recording import desire, open_again
from experiments.record.states import states
from experiments.search.early_metrics import by_step
from experiments.search.goals import FOLDER, goals_of, open_study, reported_metric, score_of, search_of, seeds_of
from experiments.search.rules import concluded, may_try_again, room, wanted_again, wanted_new
from experiments.search.study import Study, Trial
from experiments.search.trials import DataError, Trials
from registry.errors import RunError, SpecError
from registry.runs.records import State
from registry.runs.replicate import Replicate
from registry.schema.labels import label_of

CONTROLLERS = "controllers"  # in the folder of the search: whose turn it is


class Searching:
    """Brings a search to the end of its budget.

    Args:
        plan: of the experiment.
        study: its memory.
        trials: its replicates.
        say: takes a line for each trial that begins or ends.
    """

    def __init__(self, plan: Plan, study: Study, trials: Trials, say: Callable[[str], None]) -> None:
        self.search, self.goals = search_of(plan), goals_of(plan)
        self.own_arms = {arm.name for arm in plan.arms}
        self.every = plan.arms[0].spec.runtime.validate_every
        self.plan, self.study, self.trials, self.say = plan, study, trials, say

    def next(self, executor: Executor) -> Wants:
        """Look at every running trial, begin what there is room for, and want what goes on.

        Args:
            executor: prepares the data of trials, and takes away those that are pruned.

        Raises:
            DataError: the data of the base cannot be prepared.
            RefusedError: the executor takes no job that prepares data just now, and nothing else can be submitted.
        """
        running = [(trial, self._replicates(trial)) for trial in self.study.trials() if trial.state == "running"]
        todo = [replicate for _, replicates in running for replicate in replicates]
        now = dict(zip((replicate.folder for replicate in todo), states(todo), strict=True))
        for replicate in (one for one in todo if now[one.folder] is State.PAUSED):  # at a rung of the file's screen
            desire(replicate, "run", reason="a search takes it to its end")
            now[replicate.folder] = State.INTERRUPTED
        going: list[tuple[Trial, list[Replicate]]] = []
        for trial, replicates in running:
            own = [now[replicate.folder] for replicate in replicates]
            if replicates and not self._ended(trial, replicates, own, executor):
                going.append((trial, replicates))
        while (begun := self._next()) is not None:
            going.append((begun, self._replicates(begun)))
        left = [
            (trial, [one for one in replicates if now.get(one.folder, State.MISSING).startable])
            for trial, replicates in going
        ]
        start = self._all_prepared(left, executor)
        over = not going and not any(trial.state == "running" for trial in self.study.trials())
        shown = [replicate for _, replicates in going for replicate in replicates]
        return Wants(start, shown, states(shown), over)

    def _all_prepared(self, left: Sequence[tuple[Trial, list[Replicate]]], executor: Executor) -> list[Replicate]:
        """Those of the trials' replicates that may be submitted.

        Raises:
            DataError: the data are those of the base.
            RefusedError: the executor takes no job that prepares data just now, and nothing else can be submitted.
        """
        start: list[Replicate] = []
        refused: RefusedError | None = None
        for trial, replicates in left:
            try:
                start += self._prepared(trial, replicates, executor)
            except RefusedError as error:
                refused = error
        if refused is not None and not start:
            raise refused
        return start

    def _prepared(self, trial: Trial, left: Sequence[Replicate], executor: Executor) -> list[Replicate]:
        """Those of a trial's replicates that may be submitted; where their data fail, the trial does.

        Raises:
            DataError: the data are those of the base.
            RefusedError: the executor takes no job that prepares them just now.
        """
        if not left:
            return []
        try:
            return self.trials.prepare(trial, left, executor)
        except (DataError, RefusedError):
            raise  # the trial goes on when the same command does
        except SpecError as error:
            self._fail(trial, "; ".join(error.problems))
        except RunError as error:
            self._fail(trial, str(error), may_try_again(trial, self.study.trials()))
        return []

    def _next(self) -> Trial | None:
        """Write down the next trial, where there is room and budget for one that can be run."""
        while room(trials := self.study.trials(), self.search):
            number = len(trials)
            if (failed := wanted_again(trials)) is not None:
                proposal = self.study.again(failed)
            elif wanted_new(trials, self.search):
                proposal = self.study.propose()
            else:
                return None
            shown = ", ".join(f"{key}={label_of(value)}" for key, value in proposal.values.items())
            try:
                arm = self.trials.arm(number, proposal.values)
            except SpecError as error:
                trial = self.study.add(proposal, f"trial-{number}", "")
                self._fail(trial, "; ".join(error.problems))
                continue
            trial = self.study.add(proposal, self.trials.owner(arm, trials), arm.identity, failed)
            self.say(f"{trial.name}{f' (trial-{failed} again)' if failed is not None else ''}: {shown}")
            return trial
        return None

    def _replicates(self, trial: Trial) -> list[Replicate]:
        """A running trial's replicates, none where it has failed over making them."""
        if not trial.identity:  # it was written down, and the controller killed before it was told
            self._fail(trial, "its values do not go together")
            return []
        try:
            replicates = self.trials.replicates(trial)
        except SpecError as error:
            self._fail(trial, "; ".join(error.problems))
            return []
        except RunError as error:
            self._fail(trial, str(error), may_try_again(trial, self.study.trials()))
            return []
        if trial.again_of is not None:
            for replicate in replicates:
                _open_again(replicate, trial)
        return replicates

    def _ended(self, trial: Trial, replicates: Sequence[Replicate], now: Sequence[State], executor: Executor) -> bool:
        """Take note of how far a trial is; whether it has ended."""
        how = concluded(now)
        if (step := self._report(trial, replicates, judged=how is None)) is not None:
            self._prune(trial, replicates, step, executor)
            return True
        if how is None:
            return False
        if how == "complete":
            self._complete(trial, replicates)
        elif how == "pruned":
            self.study.tell(trial.number, "pruned")
            self.say(f"{trial.name}: was stopped")
        elif how == "cancelled":
            self._fail(trial, "was cancelled")
        else:
            errors = [_error(replicate) for replicate, state in zip(replicates, now, strict=True) if state == "failed"]
            self._fail(trial, "; ".join(errors), may_try_again(trial, self.study.trials()))
        return True

    def _complete(self, trial: Trial, replicates: Sequence[Replicate]) -> None:
        scores = []
        for goal in self.goals:
            score = score_of(goal, replicates)
            if score is None or not math.isfinite(score):
                found = "not in the result" if score is None else f"{score:g}"
                return self._fail(trial, f"{goal.name} is {found}")
            scores.append(score)
        self.study.tell(trial.number, "complete", scores)
        told = ", ".join(f"{goal.name} {score:.5g}" for goal, score in zip(self.goals, scores, strict=True))
        self.say(f"{trial.name}: {told}")

    def _report(self, trial: Trial, replicates: Sequence[Replicate], judged: bool) -> int | None:
        """Write down what is new at the fixed steps; the step at which the trial is to be pruned over it."""
        metric, pruning = reported_metric(self.search), self.search.pruning
        if metric is None:
            return None
        # Arms of the file are run for its claims as well, so they are never stopped.
        judged = judged and pruning is not None and trial.arm not in self.own_arms
        last = max(trial.reported, default=0)
        if judged and last > trial.judged.get("step", 0):  # reported, and then the controller was killed
            if self.study.judge(trial.number, self.every):
                return last
        elif judged and trial.judged.get("stop"):
            return last
        for step, value in by_step([replicate.metrics() for replicate in replicates], metric).items():
            if step > last:
                self.study.report(trial.number, step, value)
                if judged and self.study.judge(trial.number, self.every):
                    return step
        return None

    def _prune(self, trial: Trial, replicates: Sequence[Replicate], step: int, executor: Executor) -> None:
        """End a trial's replicates for good."""
        assert self.search.pruning is not None
        reason = f"pruned at step {step} by {self.search.pruning.method} {self.search.pruning.metric} ({trial.name})"
        stop_for_good(replicates, reason, executor)
        self.study.tell(trial.number, "pruned")
        self.say(f"{trial.name}: {reason}")

    def _fail(self, trial: Trial, why: str, again: bool = False) -> None:
        self.study.tell(trial.number, "failed", why=why, again=again)
        self.say(f"{trial.name}: failed: {why}{'; will be tried again once' if again else ''}")


def _open_again(replicate: Replicate, trial: Trial) -> None:
    """Let a failed replicate run again for the trial that gives it its second chance, once."""
    known = any(event.event == "retry" and event.trial == trial.number for event in replicate.events())
    if not known and replicate.state is State.FAILED:
        open_again(replicate, trial.number)


def _error(replicate: Replicate) -> str:
    errors = [event.error for event in replicate.events() if event.error]
    return f"{replicate.name}: {errors[-1] if errors else 'failed'}"


def run_search(
    plan: Plan, executor: str, progress: Progress, watch: Watch, say: Callable[[str], None]
) -> tuple[Study, list[Replicate]]:
    """Bring the experiment's search to the end of its budget; killed and called again, it goes on.

    Returns its memory, and the replicates of its trials.

    Args:
        plan: of the experiment.
        executor: local, slurm or debug.
        progress: is called while data are prepared, and by `debug`.
        watch: is called with the replicates that go on, and their states.
        say: takes a line for each trial that begins or ends.

    Raises:
        SpecError: the experiment has no search, or its earlier trials cannot be compared with new ones.
        RunError: another process is running it; the data cannot be prepared; the executor refuses again and again.
    """
    search, seeds = search_of(plan), seeds_of(plan)
    check(plan, with_data=True, cluster=EXECUTORS[executor].defaults())
    refuse_missing(plan)
    with leased(plan.folder / FOLDER / CONTROLLERS, patience=0) as lease:
        study = open_study(plan, writing=True)
        options = ExecutorOptions(progress, say, at_once=search.parallel * len(seeds))
        with opened(plan, executor, options) as where:
            trials = Trials(plan, where.snapshot.about())
            if not study.trials():
                trials.prepare_base(where)
            Controller(where, Launched([]), watch, say, lease).run(Searching(plan, study, trials, say))
    return study, trials.all(study.trials())
