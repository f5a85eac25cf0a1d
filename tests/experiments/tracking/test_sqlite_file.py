"""The SQLite file of MLflow: written without waiting for the disk, which it is brought onto at the end of a sync."""

import sqlite3
import time
from pathlib import Path

import pytest
import sqlalchemy

from experiments.tracking import mlflow_sync, sqlite_file
from experiments.tracking.sqlite_file import written_alone
from registry.errors import RunError
from registry.runs.attempts import take, this_process
from tests.fixtures.tracked import fragile, log, replicates


def filled(file: Path) -> Path:
    """A database of many pages."""
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE points (step INTEGER PRIMARY KEY, value TEXT)")
        connection.executemany("INSERT INTO points VALUES (?, ?)", ((step, "x" * 500) for step in range(500)))
    connection.close()
    return file


def cut_off(leases: Path) -> None:
    """What a process leaves behind that did not come to its end."""
    take(leases, 1, {**this_process(), "pid": 2**22, "started": "another boot 1", "time": time.time()})


def waits_for_the_disk(file: Path) -> bool:
    engine = sqlalchemy.create_engine(f"sqlite:///{file}")
    with engine.connect() as connection:
        found = connection.execute(sqlalchemy.text("PRAGMA synchronous")).scalar()
    engine.dispose()
    return bool(found)


def test_only_the_file_that_is_synced_is_handed_to_the_system(tmp_path: Path) -> None:
    ours, other = filled(tmp_path / "mlflow.db"), filled(tmp_path / "other.db")
    with written_alone(ours, tmp_path / "leases", 1.0, None):
        assert not waits_for_the_disk(ours)
        assert waits_for_the_disk(other)


def test_a_file_that_somebody_named_waits_for_the_disk(tmp_path: Path) -> None:
    """It may hold experiments of others, which no run folder brings back."""
    file = filled(tmp_path / "lab.db")
    with written_alone(file, tmp_path / "leases", 1.0, None, view=False):
        assert waits_for_the_disk(file)


@pytest.mark.parametrize("fails", [False, True])
def test_it_is_brought_onto_the_disk_once_at_the_end(
    fails: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    brought: list[Path] = []
    monkeypatch.setattr(sqlite_file, "_onto_the_disk", brought.append)
    with (
        pytest.raises(KeyError) if fails else pytest.MonkeyPatch.context(),
        written_alone(tmp_path / "mlflow.db", tmp_path / "leases", 1.0, None),
    ):
        assert brought == []
        if fails:
            raise KeyError
    assert brought == [tmp_path / "mlflow.db"]


def test_a_file_that_a_machine_went_down_over_is_named(tmp_path: Path) -> None:
    file = filled(tmp_path / "mlflow.db")
    with file.open("r+b") as opened:
        opened.seek(8 * 4096)
        opened.write(b"\xff" * 4 * 4096)
    cut_off(tmp_path / "leases")
    with (
        pytest.raises(RunError, match=r"mlflow.db: is damaged \(.*move it away, and `sync` again"),
        written_alone(file, tmp_path / "leases", 1.0, None),
    ):
        pass


@pytest.mark.parametrize("there", [False, True])
def test_a_process_that_was_killed_has_damaged_nothing(there: bool, tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    if there:
        filled(file)
    cut_off(tmp_path / "leases")
    with written_alone(file, tmp_path / "leases", 1.0, None):
        pass


def test_calls_and_queries_grow_with_the_runs_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted, not timed: each further run takes the same calls, and runs that did not change take no query at all."""
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    mlflow_sync.sync("first", replicates(tmp_path / "first", "first", seeds=1), uri)
    queries: list[str] = []
    engine = sqlalchemy.engine.Engine
    count = lambda connection, cursor, statement, *_: queries.append(statement)  # noqa: E731
    sqlalchemy.event.listen(engine, "before_cursor_execute", count)
    calls, asked, again = [], [], []
    try:
        for seeds in (2, 4, 6):
            name = f"of-{seeds}"
            todo = replicates(tmp_path / name, name, seeds)
            with monkeypatch.context() as patched:
                client = fragile(patched, uri)
                queries.clear()
                mlflow_sync.sync(name, todo, uri)
                calls.append(len(client.calls))
                asked.append(len(queries))
                queries.clear()
                mlflow_sync.sync(name, todo, uri)
                again.append(len(queries))
                log(todo[0], (10,))
                client.calls.clear()
                mlflow_sync.sync(name, todo, uri)
                assert client.calls == ["get_experiment_by_name", "search_runs", "set_tag", "log_batch"]
    finally:
        sqlalchemy.event.remove(engine, "before_cursor_execute", count)
    assert calls[1] - calls[0] == calls[2] - calls[1] <= 2 * 3, "create_run, set_terminated, log_batch"
    assert asked[1] - asked[0] == asked[2] - asked[1]
    assert again[0] == again[1] == again[2]
