"""The device that a key or an option means on this machine."""

import torch

from registry.errors import RunError
from registry.schema.spec import Spec


def device_of(spec: Spec) -> torch.device:
    """The device that `runtime.device` means on this machine; RunError for cuda where there is none."""
    return device_named(spec.runtime.device, "runtime.device")


def device_named(wanted: str, key: str = "--device") -> torch.device:
    """The device that `auto`, `cpu` or `cuda` means on this machine.

    Raises:
        RunError: cuda is asked for where there is none.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise RunError(f"{key} is cuda, but torch finds no CUDA device here; take cpu or auto")
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wanted)


def computes_bfloat16() -> bool:
    """Whether this machine's processor has instructions for bfloat16; without, torch converts number by number."""
    able = torch.cpu.get_capabilities()
    return any(able.get(name, False) for name in ("avx512_bf16", "amx_bf16", "avx_ne_convert", "bf16"))
