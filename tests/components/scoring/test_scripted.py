"""Scripted networks are programs: which of them run, and that one which never ends, or dies, is told."""

import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import torch

from components.scoring.scripted import open_scripted
from components.scoring.scripted_file import load_scripted
from components.scoring.scripted_process import VARIABLE, GuardedNetwork
from components.weights import sha256_of
from registry.errors import RunError, SpecError
from tests.cli.command import ROOT
from tests.fixtures.scripted_networks import Endless, StandIn, save

FRAMES = torch.arange(2 * 3 * 9 * 9, dtype=torch.float32).reshape(2, 3, 9, 9) % 256


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(save(StandIn(), tmp_path_factory.mktemp("networks") / "stand_in.pt"))


def test_only_what_is_published_or_named_by_its_hash_runs(stand_in: Path, tmp_path: Path) -> None:
    sha256 = sha256_of(stand_in)
    with pytest.raises(SpecError, match=rf"stand_in\.pt: .*program.*if you trust it, say so by the\.sha256={sha256}"):
        open_scripted(stand_in, sha256, published=False, named="", setting="the.sha256")
    with pytest.raises(SpecError, match=r"the\.sha256: .*stand_in\.pt has SHA-256 .*, not 1234"):
        open_scripted(stand_in, sha256, published=False, named="1234", setting="the.sha256")
    assert isinstance(open_scripted(stand_in, sha256, published=True, named="", setting=""), torch.nn.Module)
    named = open_scripted(stand_in, sha256, published=False, named=sha256.upper(), setting="the.sha256")
    assert isinstance(named, GuardedNetwork)
    (tmp_path / "rubbish.pt").write_bytes(b"no archive")
    with pytest.raises(RunError, match=r"rubbish\.pt: no scripted network"):
        open_scripted(tmp_path / "rubbish.pt", "", published=False, named="", setting="")


def test_a_process_of_its_own_changes_no_bit(stand_in: Path) -> None:
    with torch.no_grad():
        expected = load_scripted(stand_in)(FRAMES)
    network = GuardedNetwork(stand_in)
    for _ in range(3):
        assert torch.equal(network.to("cpu")(FRAMES), expected)
    with pytest.raises(RunError, match="argument"):
        network(FRAMES, nonsense=True)
    assert torch.equal(network(FRAMES), expected)  # and goes on


def test_an_archive_that_holds_no_network_is_told(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "odd.pt", "w") as archive:
        archive.writestr("odd/constants.pkl", b"rubbish")
    with pytest.raises(RunError, match=r"odd\.pt: no scripted network .* can be loaded"):
        GuardedNetwork(tmp_path / "odd.pt")


def test_one_that_never_answers_is_stopped_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    endless = GuardedNetwork(Path(save(Endless(), tmp_path / "endless.pt")))
    endless.seconds = 2.5
    with pytest.raises(RunError, match=rf"endless\.pt: the network has not answered for 2\.5 s.*{VARIABLE}"):
        endless(FRAMES)
    assert endless._process.poll() is not None
    monkeypatch.setenv(VARIABLE, "12")
    assert GuardedNetwork(tmp_path / "endless.pt").seconds == 12
    monkeypatch.setenv(VARIABLE, "soon")
    with pytest.raises(SpecError, match=rf"{VARIABLE}: 'soon' is not a number of seconds"):
        GuardedNetwork(tmp_path / "endless.pt")


def test_one_that_is_killed_is_told(stand_in: Path) -> None:
    network = GuardedNetwork(stand_in)
    network._process.kill()
    with pytest.raises(RunError, match=r"stand_in\.pt: the network took its process down \(exit code -9\)"):
        network(FRAMES)


def test_it_ends_with_the_process_that_started_it_even_while_it_loops(tmp_path: Path) -> None:
    save(Endless(), tmp_path / "endless.pt")
    code = (
        "import sys, torch; from pathlib import Path; from components.scoring.scripted_process import GuardedNetwork; "
        "network = GuardedNetwork(Path(sys.argv[1])); print(network._process.pid, flush=True); network(torch.zeros(3))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "endless.pt")]
    parent = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    began = _stat(child)
    until = time.monotonic() + 120
    while _stat(child)[1] < began[1] + 20:  # a fifth of a second of its own time: it is in the loop
        assert time.monotonic() < until, "it does not loop"
        time.sleep(0.05)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    while _stat(child)[0] not in "ZX":
        assert time.monotonic() < until, "it goes on"
        time.sleep(0.05)


def _stat(pid: int) -> tuple[str, int]:
    """State of a process, and the ticks that it has computed; X where it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return "X", 0
    return fields[0], int(fields[11]) + int(fields[12])
