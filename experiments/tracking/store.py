"""Where MLflow keeps things: the store by its URI, its artifacts, and the addresses at which a browser shows them."""

import os
from pathlib import Path

from analysis.results.mlflow_names import DATABASES, FILE, file_of
from experiments.tracking.arms_view import KEY

URI_VARIABLE = "MLFLOW_TRACKING_URI"
ARTIFACTS = "mlflow-artifacts"  # folder beside an SQLite file, or among the runs
TRAINING = "workflowType=machine_learning"  # in an address: without it the page has the menu for language models
PORT = 5000  # of a server that `dashboard` starts
# A page of MLflow 3 shows traces of language models unless it is told that an experiment is about training.
KIND_TAG, KIND = "mlflow.experimentKind", "custom_model_development"


def default_uri(runs: Path) -> str:
    """Return the tracking server that the environment names, else an SQLite file among the runs, absolute."""
    return os.environ.get(URI_VARIABLE) or store_among(runs)


def store_among(runs: Path) -> str:
    """Return the URI of the SQLite file among the runs, which holds nothing that could not be made of them again."""
    return f"{FILE}{(runs / 'mlflow.db').resolve()}"


def is_server(uri: str) -> bool:
    """Return whether a URI is that of a tracking server, which is asked by HTTP."""
    return uri.startswith("http")


def artifact_root(uri: str, runs: Path) -> str | None:
    """Return where artifacts of a store lie that nobody serves, whatever folder one stands in; None: a server says.

    Args:
        uri: the store; beside an SQLite file its artifacts lie, those of another database among the runs.
        runs: the folder of all runs.
    """
    store = file_of(uri)
    if store is None and not uri.startswith(DATABASES):
        return None
    return ((store.parent if store else runs.resolve()) / ARTIFACTS).as_uri()


def lies_apart(place: str) -> bool:
    """Return whether artifacts at a place do not depend on the folder that one stands in.

    An experiment whose place MLflow chose itself, for an SQLite file, has a relative one, and keeps it for good.
    """
    return "://" in place or place.startswith(("/", "mlflow-artifacts:", "file:/", "s3:", "gs:"))


def address(server: str, experiment_id: str | None) -> str:
    """Return the page of an experiment's runs as charts; without an experiment, that of all experiments.

    Args:
        server: `http://host:port`.
        experiment_id: MLflow's number of the experiment.
    """
    place = f"{server.rstrip('/')}/#/experiments"
    if experiment_id is None:
        return f"{place}?{TRAINING}"
    return f"{place}/{experiment_id}/runs?{TRAINING}&compareRunsMode=CHART&viewStateShareKey={KEY}"
