"""What rank 0 notes of its attempt: each ending once, and whether Slurm is to start the job anew."""

import time
import traceback
from collections.abc import Callable
from typing import Any

from experiments.record.recording import OwnAttempt, Recorder
from experiments.worker.stopping import Stop
from registry.parts.start_files import checkpoints_in, step_of


class Books:
    """The events of one attempt.

    Args:
        recorder: of the training's folder.
        attempt: this one.
        stop: why it may have to end.
        requeue: has Slurm start the job anew, and says whether that worked.
    """

    def __init__(self, recorder: Recorder, attempt: OwnAttempt, stop: Stop, requeue: Callable[[], bool] | None) -> None:
        self.recorder, self.attempt, self.stop, self.requeue = recorder, attempt, stop, requeue
        self.began = time.monotonic()
        self.failures: list[str] = []  # of evaluations, in words

    def interrupted(self, error: BaseException) -> None:
        """Note that it was asked to stop, and have the job started anew where its time was up."""
        if self.attempt.over:
            return
        self.stop()  # another process's signal may have come a moment before ours
        reason = str(error) or "stopped at once"
        why = f"{self.stop.reason}: {reason}" if self.stop.reason else reason
        again = self.stop.again and self.requeue is not None
        self._event(self.stop.how or "interrupted", reason=why, requeued=again)
        self.attempt.end(self.stop.how or "interrupted", again)  # before Slurm is asked, which ends this process
        if again and self.requeue is not None and not self.requeue():
            self._event("interrupted", reason=f"{why}; Slurm would not start the job anew", requeued=False)
            self.attempt.end("interrupted")

    def failed(self, error: BaseException) -> None:
        """Note what went wrong with the training."""
        if not self.attempt.over:
            self._event("failed", **_told(error))
            self.attempt.end("failed")

    def evaluation_failed(self, evaluation: str, error: BaseException) -> None:
        """Note what went wrong with one evaluation; the others go on."""
        self.recorder.event("failed", attempt=self.attempt.number, evaluation=evaluation, **_told(error))
        self.failures.append(f"evaluation {evaluation}: {error}")

    def done(self) -> None:
        """Note that nothing that is wanted is left to do, or only what has failed."""
        self._event("done")
        self.attempt.end("failed" if self.failures else "done")

    def _event(self, event: str, **details: Any) -> None:
        steps = [step_of(path) or 0 for path in checkpoints_in(self.recorder.folder)]
        about = {"seconds": round(time.monotonic() - self.began, 2), "step": max(steps, default=0)}
        self.recorder.event(event, attempt=self.attempt.number, **about, **details)


def _told(error: BaseException) -> dict[str, str]:
    text = "".join(traceback.format_exception(error))
    return {"error": f"{type(error).__name__}: {error}", "traceback": text}
