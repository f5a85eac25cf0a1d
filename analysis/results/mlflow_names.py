"""What things are called in MLflow, for `sync`, which writes them there, and for `analysis.load`, which reads them."""

import logging
import os
import re
from pathlib import Path
from typing import Any

from registry.errors import RunError

REPLICATE, TRIAL, ARM, SEARCH, REPORT = "replicate", "trial", "arm", "search", "report"  # the tag `kind` of a run
ARTIFACTS_TAG = "mlflow.workbench.artifacts"  # of a run: name -> state of the file sent; MLflow's page hides it
SPEC, RESULT, SAMPLES = "spec.yaml", "result.json", "samples"  # artifacts of a replicate's run
LOOKS, HOST = "looks", "host"  # tags of the run `report`: how many looks were taken, and which machine synced
COSTS = ("network/", "resources/", "system/")  # how metrics begin that were not logged by a training
OF_SCORES = ("", "_low", "_high", "_floor")  # what stands behind a score's name: itself, its interval, its floor
MAXIMUM = 1.7976931348623157e308  # what MLflow stores for infinity
FILE = "sqlite:///"
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")  # how a store's URI begins that is asked without a server
_SQLITE = b"SQLite format 3\0"  # how such a file begins, unless it is empty
# User and password in an address; the password of a database's may have a slash in it, a path of SQLite an `@`.
_USER = re.compile(
    r"(https?://)[^/?#\s]*@|((?<![\w+.-])(?!https?:|sqlite[\w+.-]*:///|file:)[a-z][\w+.-]*://)[^\s,]*@", re.IGNORECASE
)
_SECRET = re.compile(
    r"((?:[?&;]|%3B)[\w.-]*(?:password|passwd|pwd|token|secret)(?:=|%3D))(?:(?!%3B)[^&;#\s])+", re.IGNORECASE
)
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # two lines for every run that ends
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # a server that is down is told soon
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


def metric_key(name: str) -> str:
    """A score's name as MLflow takes it: it refuses brackets, so `fvd[random_r3d]` becomes `fvd/random_r3d`."""
    return "".join(c if c.isalnum() or c in "_-. :/" else "_" for c in name.replace("[", "/").replace("]", ""))


def result_at(step: int | None) -> str:
    """Return the artifact with the result of an earlier step's evaluation; without a step, that of the last one."""
    return RESULT if step is None else f"evaluations/step-{step}/{RESULT}"


def open_client(uri: str) -> Any:
    """Return an MlflowClient that prints nothing of its own."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    from mlflow.tracking import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)  # not a word about every table that it creates
    return MlflowClient(tracking_uri=uri)


def file_of(uri: str) -> Path | None:
    """Return the SQLite file of a URI, absolute; None for every other store."""
    return Path(uri.removeprefix(FILE)).absolute() if uri.startswith(FILE) else None


def without_secrets(text: str) -> str:
    """Return an address, or a text with addresses in it, with `***` in place of each user, password and token."""
    return _SECRET.sub(r"\g<1>***", _USER.sub(lambda found: f"{found[1] or found[2]}***@", text))


def check_file(uri: str) -> None:
    """Raise a RunError where an SQLite file is none: MLflow itself would try to open it for many minutes."""
    store = file_of(uri)
    if store is None or not store.exists():
        return
    with store.open("rb") as file:
        begin = file.read(len(_SQLITE))
    if begin and begin != _SQLITE:
        raise RunError(f"{store}: is no SQLite file; the run folders are the truth: move it away, and `sync` again")
