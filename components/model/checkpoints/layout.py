"""The contract of a layout: what its files look like, which network they hold, and how entries are named in them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from components.model.checkpoints.contents import EMA, FLAT, MODEL, SAFETENSORS, Contents, Entries
from components.model.checkpoints.description import Assumed, Description
from components.model.patch_embeddings import LatentShape
from registry.errors import SpecError
from registry.runs.files import new
from registry.schema.section import Part
from registry.schema.spec import ModelSpec

PICKLES = (".pt", ".pth", ".ckpt")


@dataclass(frozen=True)
class Network:
    """The network that a file holds: what it is built from, and by what its heads are known."""

    model: ModelSpec
    latents: LatentShape
    out_channels: int
    null_label: bool
    heads_by: str
    spec: Mapping[str, Any] | None = None
    plugins: tuple[str, ...] = ()
    step: int | None = None


class Layout:
    """One way to name and wrap the weights of a network.

    Attributes:
        name: as the command line has it.
        title: what it is, for people.
        suffixes: of the files that it is written to.
    """

    name: str
    title: str
    suffixes: tuple[str, ...] = (*PICKLES, SAFETENSORS)

    def at(self, path: Path) -> Contents | None:
        """Return what lies at a path that this layout knows by its place, such as a folder; None where it does not.

        Raises:
            RunError: the place is of this layout and cannot be read.
        """
        return None

    def objections(self, contents: Contents) -> list[str]:
        """Return what speaks against a file's being of this layout, by names and shapes alone; empty: it is."""
        raise NotImplementedError

    def network(self, contents: Contents, assumed: Assumed) -> Network:
        """Return the network that a file of this layout holds.

        Raises:
            SpecError: the file does not say enough; the message names the option that does.
            RunError: shapes that no network of this layout has.
        """
        raise NotImplementedError

    def entries(self, contents: Contents, kind: str) -> Entries:
        """Return the weights of one kind under the workbench's names; numbers stay as they are."""
        raise NotImplementedError

    def named(self, entries: Entries) -> Entries:
        """Return entries under the workbench's names -> the same entries under this layout's names."""
        raise NotImplementedError

    def called(self, names: Iterable[str]) -> dict[str, str]:
        """Return the workbench's names of entries -> this layout's, for messages."""
        own = list(names)
        return dict(zip(own, self.named(dict.fromkeys(own, torch.empty(0))), strict=True))

    def weights_file(self, path: Path) -> Path:
        """Return the file with the weights of what is written to a path."""
        return path

    def refusals(self, description: Description) -> list[str]:
        """Return what of a network this layout cannot hold, a line each; empty: it holds the network."""
        raise NotImplementedError

    def write(self, path: Path, weights: Mapping[str, Entries], description: Description) -> None:
        """Write weights, by kind and under this layout's names, into a new file, whole or not at all.

        Raises:
            FileExistsError: the file is there already.
        """
        flat = weights[FLAT] if list(weights) == [FLAT] else None
        if path.suffix == SAFETENSORS:
            write_safetensors(path, {FLAT: flat} if flat else weights, {}, prefixed=flat is None)
        else:
            write_pickle(path, flat or {kind: weights[kind] for kind in (MODEL, EMA) if kind in weights})


def differences(network: ModelSpec, holds: ModelSpec, layout: str) -> list[str]:
    """Return in which choices a network is another than a layout holds, a line each."""
    found = []
    for name in ModelSpec.model_fields:
        is_one, wanted = getattr(network, name), getattr(holds, name)
        if name != "size" and is_one != wanted:
            found.append(
                f"model.{name}: {_label(is_one)} has no place in the layout {layout}, which holds {_label(wanted)}"
            )
    return found


def _label(value: Any) -> str:
    return value.name if isinstance(value, Part) else str(value)


def check_suffix(layout: Layout, path: Path) -> None:
    """Refuse a name of a file that does not say one of the layout's kinds of file.

    Raises:
        SpecError: another suffix.
    """
    if path.suffix not in layout.suffixes:
        raise SpecError(
            f"--out: {path.name} does not end in {' or '.join(layout.suffixes)}, as files of layout {layout.name} do"
        )


def write_pickle(path: Path, content: dict[str, Any]) -> None:
    """Write a new file of `torch.save`; of a tensor that is a piece of a larger storage only its own numbers."""
    with new(path) as file:
        torch.save({name: _own(value) for name, value in content.items()}, file)


def _own(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _own(entry) for name, entry in value.items()}
    whole = value.untyped_storage().nbytes() == value.numel() * value.element_size()
    return value if whole and value.is_contiguous() else value.clone().contiguous()


def write_safetensors(
    path: Path, weights: Mapping[str, Entries | None], metadata: Mapping[str, str], prefixed: bool = True
) -> None:
    """Write a new safetensors file: entries `ema.…` and `model.…`, or of one kind without a prefix."""
    from safetensors.torch import save_file

    tensors: Entries = {}
    written: set[int] = set()  # the format has no entries that share memory, as a table does in both kinds of weights
    for kind, entries in weights.items():
        for name, value in (entries or {}).items():
            whole = value.contiguous()
            tensors[f"{kind}.{name}" if prefixed else name] = whole.clone() if whole.data_ptr() in written else whole
            written.add(whole.data_ptr())
    with new(path) as file:
        save_file(tensors, file.name, metadata={"format": "pt", **metadata})
