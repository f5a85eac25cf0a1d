"""The stages of a training that is wanted: train to the next step that somebody evaluates, evaluate, and go on."""

from pathlib import Path

from components.data.latent_cache import LatentCache
from components.data.prepare import Prepared
from components.scoring.features.feature_files import clips_done
from experiments.record import code_digests
from experiments.record.progress import Progress
from experiments.record.recording import ClaimedError, Recorder, write_json
from experiments.scores.evaluation import can_be_evaluated, evaluate, free
from experiments.training.open_data import open_data
from experiments.training.processes import InStepError, Processes
from experiments.training.trainer import Trainer, keeping_random_state, resumed, train
from experiments.worker.books import Books
from experiments.worker.stopping import Stop
from registry.errors import Interrupted
from registry.parts.start_files import checkpoints_in, step_of
from registry.runs.records import Result, Trained
from registry.runs.replicate import Replicate, open_replicate
from registry.runs.stored import evaluations_in, training_seconds, wanted
from registry.schema.spec import Spec


def waiting(training: Path) -> list[Path]:
    """Return the evaluations that are wanted, have no result and have not failed, by name."""
    return list(dict.fromkeys(folder for folder, _ in wanted(training)))


def progress_of(training: Path) -> list[int]:
    """Return how far a training is, so that two looks differ where it moved, forward or back.

    The sum of its checkpoints' steps, files of samples, bytes and marks of measured features.
    """
    samples = features = marked = 0
    for folder in evaluations_in(training):
        samples += len(list((folder / "samples").glob("clips-*.npy")))
        features += sum(path.stat().st_size for path in (folder / "features").rglob("*.npy"))
        marked += clips_done(folder / "features")
    steps = [step_of(path) or 0 for path in checkpoints_in(training)]
    return [sum(steps), samples, features + marked]


def run_stages(
    training: Path, spec: Spec, stop: Stop, progress: Progress, processes: Processes, books: Books | None
) -> list[Result]:
    """Train and evaluate until nothing is waited for, and return the results; only rank 0 has them.

    Args:
        training: its folder.
        spec: what is trained, and how efficiently.
        stop: asked after every step and batch.
        progress: is called with (what, done, in all).
        processes: those that work together.
        books: of rank 0; None in the others, and in rank 0 where nothing is wanted any more.

    Raises:
        Interrupted: `stop` answered yes; what was computed is kept.
        ClaimedError: another process has taken over.
        RunError: the training failed; what fails in an evaluation is noted, and the others go on.
    """
    stages = _Stages(training, spec, stop, progress, processes, books)
    made: list[Result] = []
    while todo := processes.shared(waiting(training) if books is not None else []):
        replicates = [open_replicate(folder) for folder in todo]
        step = min(replicate.spec.step for replicate in replicates)
        due = [replicate for replicate in replicates if replicate.spec.step == step]
        stages.come_to(due[0], {replicate.spec.step for replicate in replicates})
        for replicate in due:
            still = processes.is_first and replicate.folder.name in {folder.name for folder in waiting(training)}
            if not processes.shared(still):
                continue  # whoever wanted it has cancelled it since
            result = stages.evaluate(replicate)
            if result is not None:
                made.append(result)
    return made


class _Stages:
    """A training on its way from step to step."""

    def __init__(
        self, training: Path, spec: Spec, stop: Stop, progress: Progress, processes: Processes, books: Books | None
    ) -> None:
        self.training, self.spec, self.stop, self.progress = training, spec, stop, progress
        self.processes, self.books = processes, books
        self.trainer: Trainer | None = None
        self.prepared: Prepared | None = None
        self.cache: LatentCache | None = None
        self.noted = False  # which code trains

    def come_to(self, replicate: Replicate, needed: set[int]) -> None:
        """Train to the step of an evaluation, unless a checkpoint of that step can be evaluated already.

        A training that is past the step, and whose checkpoint of it is gone, goes back to an earlier one, or to its
        start: that gives the same weights again. What was noted of it stays.

        Args:
            replicate: whose evaluation is next.
            needed: steps that are wanted, whose checkpoints stay until then.
        """
        step, last = replicate.spec.step, self.spec.learning.steps
        if self.prepared is None:
            self.prepared, self.cache = open_data(replicate)
        assert self.cache is not None, "opened with the data"
        if self.processes.shared(can_be_evaluated(replicate, self.prepared) if self._first else None):
            return
        gone_back = self.trainer is not None and self.trainer.noted > self.trainer.step
        if self.trainer is None or self.trainer.step > step or gone_back:
            self.trainer = None
            free(self.processes.device)
            device, processes = self.processes.device, self.processes
            self.trainer = resumed(replicate, self.prepared, self.cache, device, processes, most=step)
            self.noted = False
        self.trainer.needed = needed
        self._note_code(self.trainer, step)
        train(self.trainer, self.stop, self.progress, step)
        if step == last:
            self._trained(self.trainer)
            self.trainer = None
            free(self.processes.device)

    def _note_code(self, trainer: Trainer, step: int) -> None:
        """Note which code makes the initial weights or the steps from here, once wherever it goes on from."""
        if self.books is None or self.noted or trainer.step >= max(step, 1):
            return
        self.noted = True
        digests = code_digests.of_training(self.spec)
        used = code_digests.used_now(self.spec, digests, self.books.attempt.number, trainer.step)
        until = step if trainer.noted > trainer.step else None
        self.books.recorder.code(used.model_copy(update={"until": until}))

    @property
    def _first(self) -> bool:
        return self.processes.is_first

    def evaluate(self, replicate: Replicate) -> Result | None:
        """Evaluate at the step that the training has come to; a failure is noted."""
        assert self.prepared is not None, "the training has come to its step"
        number = self.books.attempt.number if self.books else 0
        try:
            with keeping_random_state():
                return evaluate(replicate, self.prepared, self.stop, self.progress, self.processes, number)
        except (Interrupted, ClaimedError):
            raise  # the evaluation is whole as far as it came, and another process may be at it by now
        except Exception as error:
            if not self.processes.alone and not isinstance(error, InStepError):
                raise  # the processes are no longer at the same place
            if self.books is not None:
                self.books.evaluation_failed(replicate.folder.name, error)
            return None

    def _trained(self, trainer: Trainer) -> None:
        """Note what there is to say of the training, behind its last step."""
        if not self._first or self.books is None or (self.training / "trained.json").exists():
            return
        about = Trained(
            training=self.spec.training,
            seed=trainer.seed,
            steps=trainer.step,
            parameters=sum(p.numel() for p in trainer.model.parameters()),
            validation_split=trainer.validation_split,
            data_digest=trainer.prepared.digest,
            seconds=round(training_seconds(self.training, trainer.step), 2),
            attempts=self.books.attempt.number,
            device=str(trainer.device),
            processes=self.processes.world,
        )
        write_json(Recorder(self.training).folder / "trained.json", about.model_dump(mode="json"))
