"""The one experiment that all command-line tests share."""

import pytest

from tests.cli.command import Launched


@pytest.fixture(scope="session")
def launched(tmp_path_factory: pytest.TempPathFactory) -> Launched:
    return Launched(tmp_path_factory.mktemp("cli"))
