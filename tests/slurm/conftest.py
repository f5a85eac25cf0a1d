"""The Slurms of the tests: `real_slurm` where there is one, `fake_slurm` everywhere."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.clusters import Cluster, fake_cluster, real_cluster, why_no_real


def in_ci() -> bool:
    """Whether `.ci/run` runs the tests: it has started all services, so that none may be missing."""
    return os.environ.get("WORKBENCH_CI") == "1"


@pytest.fixture
def real_slurm() -> Iterator[Cluster]:
    """The real cluster, for this test alone; its commands are on PATH."""
    if missing := why_no_real():
        (pytest.fail if in_ci() else pytest.skip)(missing)
    with real_cluster() as cluster:
        yield cluster


@pytest.fixture
def fake_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A fake cluster of 4 CPUs for this test alone; its commands are the first on PATH."""
    with fake_cluster(tmp_path / "slurm") as cluster:
        for name, value in cluster.environment.items():
            monkeypatch.setenv(name, value)
        yield cluster


@pytest.fixture(params=["fake", "real"])
def slurm(request: pytest.FixtureRequest) -> Cluster:
    """The fake cluster, then the real one: what is true of one is true of the other."""
    found: Cluster = request.getfixturevalue(f"{request.param}_slurm")
    return found
