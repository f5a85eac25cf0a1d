"""What a worker notes of its code, and what results say of it."""

from pathlib import Path

import pytest

from experiments.record import code_digests
from experiments.worker.run import run_training
from registry.errors import Interrupted
from registry.runs.code_used import code_used
from tests.fixtures.toy_replicates import at, finish, made

ONE = ("floors=[]", "seeds=[0]", "claim=[]", "ablate={}")


def stop() -> None:
    raise Interrupted("now")


def change(monkeypatch: pytest.MonkeyPatch, name: str, digest: str) -> None:
    """Let a part or loop have another digest from here on."""
    real = code_digests._digests
    monkeypatch.setattr(
        code_digests,
        "_digests",
        lambda *given: {key: digest if key == name else own for key, own in real(*given).items()},
    )


def test_a_training_that_changed_code_has_resumed_is_made_by_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (replicate,) = made(tmp_path, *ONE, "evaluate_at=[2]", only=["baseline"])[:1]
    early = [path for path in replicate.training.glob("evaluations/*") if path != replicate.folder]
    before = code_digests.of_training(replicate.spec)["training loop"]
    with pytest.raises(Interrupted):
        run_training(replicate.training, at("training", 4, stop))
    change(monkeypatch, "training loop", "after")
    result = finish(replicate)
    assert [used.begun_at for used in code_used(replicate.training)] == [0, 2]
    assert result.made_by.training["training loop"] == [before, "after"]
    assert all(len(digests) == 1 for name, digests in result.made_by.training.items() if name != "training loop")
    assert not {name.split(".")[0] for name in result.made_by.training} & {"sampling", "scoring"}
    assert {"sampling loop", "scoring loop"} <= set(result.made_by.evaluation)
    (step_2,) = early
    assert '"after"' not in (step_2 / "result.json").read_text(), "made before the code changed"


def test_samples_of_an_earlier_attempt_are_made_by_its_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (replicate,) = made(tmp_path, *ONE)
    before = code_digests.of_evaluation(replicate.spec)["sampling loop"]
    with pytest.raises(Interrupted):
        run_training(replicate.training, at("sampling", 4, stop))
    change(monkeypatch, "sampling loop", "after")
    result = finish(replicate)
    assert result.made_by.evaluation["sampling loop"] == [before, "after"]
    assert len(code_used(replicate.training)) == 1, "the second attempt trained nothing"
    again = [used.attempt for used in code_used(replicate.folder)]
    assert again == [1, 2]
