"""The settings that make this processor calculate as others do, a line each: `make parity` runs the tests under each.

Those that would change nothing are left out: under the instructions that it uses anyway, the tests are in `make test`.
"""

from collections.abc import Iterator

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


if __name__ == "__main__":
    from torch.backends.cpu import get_cpu_capability

    print("\n".join(settings(get_cpu_capability())))
