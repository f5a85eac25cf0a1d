"""Where MLflow's things lie, and what people see of its addresses."""

from pathlib import Path

import pytest

import analysis
from analysis.results.mlflow_names import without_secrets
from experiments.tracking import store
from registry.errors import RunError, SpecError
from tests.cli.command import run
from tests.fixtures.tracked import replicates

RUNS = Path("/lab/runs")


@pytest.mark.parametrize(("text", "told"), [
    ("postgresql+psycopg2://mlflow:se/c@ret@db:5432/mlflow", "postgresql+psycopg2://***@db:5432/mlflow"),
    ("postgresql://db/mlflow?user=me&password=secret&connect_timeout=9", "postgresql://db/mlflow?user=me&password=***&connect_timeout=9"),
    ("MLflow at https://me:secret@lab.org:5000/x: no", "MLflow at https://***@lab.org:5000/x: no"),
    ("MLflow at http://lab:5000: asked by a@b.org", "MLflow at http://lab:5000: asked by a@b.org"),
    ("http://lab:5000/#/experiments/1/a@b", "http://lab:5000/#/experiments/1/a@b"),
    ("http://lab:5000?to=a@b", "http://lab:5000?to=a@b"),
    ("stores are postgresql://db/mlflow,admin@lab.org", "stores are postgresql://db/mlflow,admin@lab.org"),
    ("mssql+pyodbc:///?odbc_connect=UID%3Dme%3BPWD%3Dsecret%3BX%3D1", "mssql+pyodbc:///?odbc_connect=UID%3Dme%3BPWD%3D***%3BX%3D1"),
    ("sqlite+pysqlcipher://:secret@/mlflow.db", "sqlite+pysqlcipher://***@/mlflow.db"),
    ("sqlite:////home/me@lab/runs/mlflow.db", "sqlite:////home/me@lab/runs/mlflow.db"),
    ("sqlite+pysqlite:////home/me@lab/mlflow.db", "sqlite+pysqlite:////home/me@lab/mlflow.db"),
])  # fmt: skip
def test_no_password_is_in_what_people_see(text: str, told: str) -> None:
    assert without_secrets(text) == told


def test_an_error_of_a_server_names_no_password(tmp_path: Path) -> None:
    (replicate,) = replicates(tmp_path, "toy", seeds=1)
    uri, runs = "http://me:secret@127.0.0.1:9", replicate.link.parents[2]
    words = ("sync", tmp_path / "toy.yaml", "--runs", runs, "--tracking-uri", uri)
    said = run(*words, MLFLOW_HTTP_REQUEST_MAX_RETRIES="0")
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("MLflow at http://***@127.0.0.1:9: ")
    assert "secret" not in said.err
    for call in (lambda: analysis.load(uri), lambda: analysis.load(uri, runs="runs"), lambda: analysis.load("a" + uri)):
        with pytest.raises((RunError, SpecError)) as refused:
            call()
        assert "secret" not in str(refused.value)


def test_files_lie_beside_an_sqlite_file_else_beside_the_runs_and_a_server_says_where_its_own_do() -> None:
    assert store.artifact_root("sqlite:////data/mlflow.db", RUNS) == "file:///data/mlflow-artifacts"
    for uri in ("postgresql+psycopg2://me:secret@db/mlflow", "mysql://db/mlflow", "sqlite+pysqlite:////data/mlflow.db"):
        assert store.artifact_root(uri, RUNS) == "file:///lab/runs/mlflow-artifacts"
    for uri in ("http://lab:5000", "https://lab", "databricks"):
        assert store.artifact_root(uri, RUNS) is None
