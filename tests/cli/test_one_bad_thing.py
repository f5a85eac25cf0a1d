"""One bad thing ends one thing: a folder that was moved or removed, a full disk, damaged shared files and code."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command import ROOT, Launched, Told, begin, run
from tests.fixtures.toy_replicates import write
from tests.waiting import until

PLAIN = ("ablate={}", "claim=[]", "floors=[]")


def with_limit(limit: str, *words: object) -> Told:
    """Run a verb, with a limit that the shell sets before."""
    command = [sys.executable, str(ROOT / "run.py"), *map(str, words)]
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    done = subprocess.run(
        ["bash", "-c", f'{limit}; exec "$@"', "run.py", *command], cwd=ROOT, env=environment | {"OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return Told(done.returncode, done.stdout, done.stderr)


# ---------------------------------------------------------------- places


@pytest.mark.parametrize("old_place", ["gone", "still there, with other content"])
def test_a_runs_folder_that_was_moved_goes_on(tmp_path: Path, old_place: str) -> None:
    file, old, new = write(tmp_path), tmp_path / "runs", tmp_path / "runs2"
    words = [file, *PLAIN, "seeds=[0]", "runtime.keep_checkpoints=9", "--executor", "debug"]
    assert run("launch", *words, "--runs", old).code == 0
    (stored,) = old.glob("toy/*/seed-0/result.json")
    before = json.loads(stored.read_text())
    shutil.move(old, new) if old_place == "gone" else shutil.copytree(old, new, symlinks=True)
    for data in (old / "_data").rglob("*.*"):
        data.write_bytes(b"of somebody else") if data.is_file() else None
    (link,) = new.glob("toy/*/seed-0")
    drawn = run("sample", link, "--num", 1, "--out", tmp_path / "drawn")
    assert drawn.code == 0, drawn.err
    (training,) = new.glob("_trainings/*/seed-0")  # as if it had been killed behind step 4
    for gone in (*training.glob("evaluations/*/result.json"), training / "trained.json",
                 *training.glob("checkpoints/step-00000006.*"), *training.glob("evaluations/*/samples/*")):  # fmt: skip
        gone.unlink()

    told = run("launch", *words, "--runs", new)
    assert told.code == 0, told.err
    (stored,) = new.glob("toy/*/seed-0/result.json")
    after = json.loads(stored.read_text())
    assert (after["scores"], after["data_digest"]) == (before["scores"], before["data_digest"])
    place = json.loads((training / "prepared.json").read_text())["folder"]
    assert Path(place).is_relative_to(new.resolve())
    assert run("status", *words[:-2], "--runs", new).code == 0


@pytest.mark.slow
def test_a_run_folder_that_is_removed_ends_that_run_alone(tmp_path: Path) -> None:
    file, runs = write(tmp_path), tmp_path / "runs"
    words = (file, *PLAIN, "seeds=[0,1,2]", "resources.parallel=2", "learning.steps=300", "runtime.log_every=10")
    launch = begin("launch", *words, "--runs", runs)

    def trains() -> list[Path]:
        beats = runs.glob("_trainings/*/seed-0/heartbeat.json")
        return [beat.parent for beat in beats if json.loads(beat.read_text())["step"] >= 10]

    until(trains, "seed 0 trains", launch)
    (folder,) = trains()
    until(lambda: shutil.rmtree(folder, ignore_errors=True) or not folder.exists(), "it is removed", launch)
    told = launch.told()
    assert told.code == 1, told
    assert "Traceback" not in told.err
    assert "baseline seed 0: missing" in told.err
    assert {path.parent.name for path in runs.glob("toy/*/*/result.json")} == {"seed-1", "seed-2"}
    states = run("status", *words, "--runs", runs, "--format", "json").json["replicates"]
    assert [row["state"] for row in states] == ["missing", "done", "done"]
    again = run("launch", *words, "--runs", runs)
    assert again.code == 0, again.err
    assert len(list(runs.glob("toy/*/*/result.json"))) == 3


@pytest.mark.slow
def test_a_disk_that_is_full_is_told_with_the_file_and_what_goes_on(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: the system names no file in either error."""
    file, runs = write(tmp_path), tmp_path / "runs"
    words = (file, *PLAIN, "seeds=[0]", "model.width=64", "--runs", runs)
    told = with_limit("ulimit -f 2048", "launch", *words)  # KiB; a checkpoint has about 6 MiB
    assert told.code == 1, told
    assert "Traceback" not in told.err
    (folder,) = runs.glob("_trainings/*/seed-0")
    checkpoint = folder / "checkpoints" / "step-00000002.pt"
    assert f"baseline seed 0: failed: RunError: {checkpoint}: cannot be written: File too large" in told.err
    assert "`retry` goes on" in told.err
    assert not list(runs.rglob("*.tmp"))
    told = run("retry", *words)
    assert told.code == 0, told.err


# ---------------------------------------------------------------- shared files and frozen code

GARBAGE = bytes(range(256)) * 8


@pytest.fixture
def copied(launched: Launched, tmp_path: Path) -> tuple[Path, Path]:
    """The experiment file, and a copy of its runs."""
    shutil.copytree(launched.runs, tmp_path / "runs", symlinks=True)
    return launched.file, tmp_path / "runs"


@pytest.mark.slow
def test_damaged_files_of_one_training_stop_no_verb(copied: tuple[Path, Path]) -> None:
    file, runs = copied
    (link,) = (runs / "toy").glob("baseline-*/seed-0")
    evaluation = link.resolve()
    training = evaluation.parent.parent
    (training / "submissions").mkdir(exist_ok=True)
    damage: dict[Path, bytes] = {
        training / "metrics.jsonl": GARBAGE + b'\n[1]\n{"loss": 1}\n{"step": "x"}\n',
        evaluation / "metrics.jsonl": GARBAGE,
        training / "events.jsonl": GARBAGE + b'\n[1]\n{"event": 1}\n',
        training / "heartbeat.json": b"[1]",
        training / "attempts" / "0001.json": b"[1]",
        training / "attempts" / "0abc.json": b"x",
        training / "submissions" / "0001.json": b"[1]",
        training / "trained.json": b"[1]",
        evaluation / "result.json": b"[1]",
        runs / "toy" / "floors.json": b"[1]",
        runs / "mlflow.db": GARBAGE,
        runs / "_data" / "preparing" / "0001.json": GARBAGE,
    }
    for path, content in damage.items():
        path.write_bytes(content)
        os.utime(path, (0, 0))  # whoever wrote it is long gone
    for verb in ("status", "table", "verdict", "plan", "logs", "report", "launch"):
        told = run(verb, file, "--runs", runs)
        assert "Traceback" not in told.out + told.err, (verb, told)
        assert told.code == (1 if verb == "launch" else 0), (verb, told)
        assert verb != "status" or " retry " in told.out.rpartition("next: ")[2], told
    assert "baseline seed 0: damaged" in told.err
    assert "result.json" in told.err
    assert "not tracked yet: MLflow at sqlite:///" in told.out
    told = run("sync", file, "--runs", runs)
    assert (told.code, told.out) == (1, "")
    assert told.err.startswith(f"MLflow at sqlite:///{(runs / 'mlflow.db').resolve()}: ")
    assert len(told.err.splitlines()) == 1
    (runs / "mlflow.db").unlink()
    told = run("retry", file, "--runs", runs, "--executor", "debug")
    assert told.code == 0, told.err
    states = run("status", file, "--runs", runs, "--format", "json").json["replicates"]
    assert [row["state"] for row in states] == ["done"] * 4


def test_frozen_code_that_was_changed_does_not_run(tmp_path: Path) -> None:
    file, runs = write(tmp_path), tmp_path / "runs"
    words = (file, *PLAIN, "--runs", runs)
    assert run("launch", *words, "seeds=[0]").code == 0
    (frozen,) = (runs / "_code").iterdir()
    edited = frozen / "experiments" / "sampling" / "trainings.py"
    whole = edited.read_text()
    edited.write_text(whole + "\n# edited\n")
    (training,) = runs.glob("_trainings/*/seed-0")
    for gone in training.glob("evaluations/*/result.json"):
        gone.unlink()
    job = subprocess.run(  # as a job that begins hours later
        [sys.executable, "-m", "experiments.worker.run", str(training)], cwd=tmp_path, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(frozen), "PYTHONSAFEPATH": "1"}, check=False,
    )  # fmt: skip
    assert job.returncode == 1, job
    assert f"failed: the frozen code is not what was launched: {edited}: was changed; `retry`" in job.stderr
    assert not list(runs.glob("toy/*/*/result.json"))
    told = run("retry", *words, "seeds=[0]")
    assert told.code == 0, told.err
    assert f"freezing the code again: {edited}: was changed" in told.err
    assert edited.read_text() == whole
    assert len(list(runs.glob("toy/*/*/result.json"))) == 1
