"""The tests of tests/parity under the settings that make this processor calculate as others do: `make parity`.

Settings that would change nothing are left out: under the instructions that it uses anyway, `make test` has the tests.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from torch.backends.cpu import get_cpu_capability

SETTINGS = {  # of the environment -> the instructions of processors that notice it, as torch names them
    "ATEN_CPU_CAPABILITY=default": ("AVX2", "AVX512"),
    "ATEN_CPU_CAPABILITY=avx2": ("AVX512",),
    "ONEDNN_MAX_CPU_ISA=AVX2": ("AVX512",),
}
TRIED = ("DEFAULT", "AVX2", "AVX512")  # under any other name all settings are tried


def settings(capability: str) -> Iterator[str]:
    """Give the settings that change what a processor with these instructions does, as `NAME=value`."""
    for setting, noticed in SETTINGS.items():
        if capability in noticed or capability not in TRIED:
            yield setting


def main() -> int:
    """Run the tests under each setting, all at the same time, and print what each said; 1 where one failed."""
    found = list(settings(get_cpu_capability()))
    if not found:
        print("parity: no setting changes what this processor does; make test has these tests")
    words = [sys.executable, "-m", "pytest", "--quiet", "tests/parity"]
    started = {}
    for setting in found:
        name, value = setting.split("=")
        print(f"parity: pytest tests/parity with {setting}", flush=True)
        said = tempfile.TemporaryFile()  # noqa: SIM115, closed when it was printed
        environment = os.environ | {"OMP_NUM_THREADS": "1", name: value}
        started[setting] = said, subprocess.Popen(words, env=environment, stdout=said, stderr=subprocess.STDOUT)
    worst = 0
    for setting, (said, process) in started.items():
        worst = max(worst, int(process.wait() != 0))
        said.seek(0)
        print(f"parity: with {setting}:\n{said.read().decode(errors='replace')}", flush=True)
        said.close()
    return worst


if __name__ == "__main__":
    sys.exit(main())
