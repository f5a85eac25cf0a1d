"""torch's optimisers without torch's compiler, which they import only to have it leave them alone."""

import inspect
from typing import TypeVar

import torch

Kind = TypeVar("Kind", bound=torch.optim.Optimizer)
KEPT_FROM_COMPILER = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")


def eager(kind: type[Kind]) -> type[Kind]:
    """Return a kind of optimiser that does the same, bit for bit, and imports no compiler.

    torch wraps an optimiser's methods to keep its compiler away from them, and imports it (torch._dynamo, seconds of
    the processor and two hundred megabytes) when the first of them is called. Here blocks are compiled and optimisers
    never are. A method that torch wraps in no way, or in another one day, is taken as it is.

    Args:
        kind: such as torch.optim.AdamW, whose steps are never to be differentiated.
    """
    methods = {name: inspect.unwrap(getattr(kind, name)) for name in KEPT_FROM_COMPILER}
    methods["step"] = torch.no_grad()(inspect.unwrap(kind.step))
    made: type[Kind] = type(kind.__name__, (kind,), methods)
    return made


AdamW = eager(torch.optim.AdamW)
Muon = eager(torch.optim.Muon)
