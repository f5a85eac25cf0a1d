""".ci/install.py: uv is told what pip is told, and pip installs where uv cannot."""

import os
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

FILE = Path(__file__).parents[1] / ".ci" / "install.py"

# By section: a variable of the environment counts more than `install`, that more than `global`.
SETTINGS = {
    ":env:.cert": "/etc/ssl/ours.crt",
    ":env:.default-timeout": "15.5",
    "global.cert": "/etc/ssl/others.crt",
    "global.extra-index-url": "https://one.example/simple\nhttps://two.example/simple",
    "global.index-url": "https://all.example/simple",
    "global.proxy": "http://proxy.example:3128",
    "install.find-links": "/opt/wheels /opt/more",
    "install.index-url": "https://install.example/simple",
    "install.no-index": "true",
}


def ask(*asked: str) -> str:
    """What pip prints: of a setting that stands in two files a line each, and asked for it the one that counts."""
    if asked == ("config", "list"):
        return "".join(f"{name}='another'\n{name}={value!r}\n" for name, value in SETTINGS.items())
    verb, get, name = asked
    assert (verb, get) == ("config", "get")
    return SETTINGS[name] + "\n"


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    found = spec_from_file_location("install", FILE)
    assert found is not None
    assert found.loader is not None
    module = module_from_spec(found)
    found.loader.exec_module(module)
    for variable in (*module.VARIABLES.values(), "UV_INDEX_STRATEGY"):  # as this machine may have them
        monkeypatch.delenv(variable, raising=False)
    return module


def test_uv_is_told_what_pip_is_told(install: ModuleType) -> None:
    settings = install.pip_settings(ask)
    assert install.words(settings) == ["--no-index"]
    assert install.words({**settings, "no-index": "false"}) == []
    assert install.variables(settings) == {
        "SSL_CERT_FILE": "/etc/ssl/ours.crt",
        "UV_HTTP_TIMEOUT": "16",
        "UV_INDEX": "https://one.example/simple https://two.example/simple",
        "UV_DEFAULT_INDEX": "https://install.example/simple",
        "UV_FIND_LINKS": "/opt/wheels,/opt/more",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "ALL_PROXY": "http://proxy.example:3128",
    }


def test_what_uv_was_told_itself_stays(install: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://mine.example/simple")
    assert "UV_DEFAULT_INDEX" not in install.variables(install.pip_settings(ask))


def test_pip_installs_where_uv_cannot(tmp_path: Path) -> None:
    """A pip and a uv of the test's own stand before the installed ones; they write down what they were called with."""
    calls = tmp_path / "calls"
    for name, code in (("pip", 0), ("uv", 3)):
        written = f"open({str(calls)!r}, 'a').write(' '.join([{name!r}, *sys.argv[1:]]) + '\\n')"
        (tmp_path / f"{name}.py").write_text(f"import sys\n{written}\nsys.exit({code})\n")
    run = subprocess.run(
        [sys.executable, FILE], cwd=FILE.parents[1], env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert run.stderr == "env: uv could not install the packages; pip does, which takes longer\n"
    first, settings, by_uv, by_pip = calls.read_text().splitlines()
    assert first.endswith("--constraint constraints.txt uv")
    assert settings == "pip config list"
    assert by_uv.startswith("uv pip install --quiet --python ")
    assert by_pip.startswith("pip install ")
    for last in (by_uv, by_pip):
        assert last.endswith("--constraint constraints.txt --editable .[dev,docs,compare,text,minilm]")
