"""A checkpoint of any layout: recognised, described, opened as a network, and written in another layout."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from components.model.building import build_network
from components.model.checkpoints.contents import EMA, MODEL, Contents, Entries, read_file, seen
from components.model.checkpoints.description import Assumed, Description, Progress, digest_of
from components.model.checkpoints.diffusers_folder import DiffusersLayout
from components.model.checkpoints.dit import DiTLayout
from components.model.checkpoints.layout import Layout, Network, check_suffix
from components.model.checkpoints.official import LatteLayout
from components.model.checkpoints.ours import OurLayout
from components.model.latte import Latte
from components.weights import find_whole, is_published
from registry.errors import RunError, SpecError, did_you_mean
from registry.parts.catalogue import catalogue
from registry.paths import expanded

LAYOUTS: Mapping[str, Layout] = {
    layout.name: layout for layout in (LatteLayout(), DiTLayout(), DiffusersLayout(), OurLayout())
}
SHOWN = 6  # entries that do not fit, named in a message


def silent(what: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was recognised: what its file holds, in which layout, and the network of it.

    Attributes:
        contents: of the file.
        layout: that it is in.
        network: what the network is built from.
        description: of it all.
    """

    contents: Contents
    layout: Layout
    network: Network
    description: Description

    def entries(self, kind: str) -> Entries:
        """Return the weights of one kind under the workbench's names."""
        return self.layout.entries(self.contents, kind)

    def empty(self) -> Latte:
        """Return the network on the device `meta`, without weights.

        Raises:
            RunError: no such network can be made.
        """
        of = self.network
        try:
            with torch.device("meta"):
                return build_network(of.model, of.latents, of.out_channels, of.null_label, catalogue(of.plugins))
        except (SpecError, RuntimeError, OverflowError, MemoryError, TypeError) as error:
            told = (str(error).splitlines() or [type(error).__name__])[0]
            raise RunError(f"{self.contents.path}: no network can be made of its measures: {told}") from error

    def with_digest(self, progress: Progress = silent) -> "Checkpoint":
        """Return the checkpoint with its file's SHA-256 in the description.

        Raises:
            RunError: the file's digits are not those that its record states: it is damaged, or another one.
        """
        digest, wanted = digest_of(self.contents.path, progress), self.contents.sha256
        if wanted and digest != wanted:
            raise RunError(f"{self.contents.path}: does not match its checksum: it has SHA-256 {digest}, not {wanted}")
        return replace(self, description=replace(self.description, digest=digest))

    def verified(self, progress: Progress = silent) -> "Checkpoint":
        """Return the checkpoint, held against its record where there is one: a run's, or that of an import.

        Raises:
            RunError: as of `with_digest`.
        """
        return self.with_digest(progress) if self.contents.sha256 else self


def inspect(path: Path | str, assumed: Assumed | None = None, weights: str | None = None) -> Checkpoint:
    """Recognise a checkpoint and check that its entries are those of its network, all of them; no weights are read.

    Args:
        path: a file, or the name of a published one; or a training, an evaluation or a replicate of a runs folder.
        assumed: what the user says of the network because a state dict cannot.
        weights: ema or model; left out: an evaluation's choice, else the average where there is one.

    Raises:
        SpecError: there is nothing at the path, the file does not say enough and the message names the option, or the
            file itself says otherwise than `assumed`.
        RunError: the file is damaged, would run code, or is of no layout; the message says what was seen.
    """
    contents = _contents(expanded(path))
    contents = replace(contents, prefers=contents.kind(weights))
    layout, said = _layout_of(contents), assumed
    if (spec := contents.spec) is not None:
        assumed = Assumed(spec.model.heads, spec.model.classes or None, spec.plugins)
    network = layout.network(contents, assumed or Assumed())
    _refuse_disagreement(said or Assumed(), network, contents.path)
    found = Checkpoint(contents, layout, network, _described(contents, layout, network))
    empty = found.empty()
    for one in contents.weights:
        _refuse_other_entries(found, empty, one)
    parameters = sum(parameter.numel() for parameter in empty.parameters())
    return replace(found, description=replace(found.description, parameters=parameters))


def open_network(
    path: Path | str, assumed: Assumed | None = None, weights: str | None = None, progress: Progress = silent
) -> tuple[Latte, Description]:
    """Return the network of a checkpoint of any layout, in eval mode and float32 on the CPU, and its description.

    It is called as `network(latents (B, F, C, H, W), t (B,), labels=…, text=…, text_mask=…)`. Float32 weights of a file
    are not copied: they stay in the file until they are used. A run's checkpoint, and a file that was imported, is held
    against its record.

    Args:
        path: as of `inspect`.
        assumed: as of `inspect`.
        weights: as of `inspect`.
        progress: is called while a file is hashed.

    Raises:
        SpecError: as of `inspect`.
        RunError: as of `inspect`.
    """
    found = inspect(path, assumed, weights)
    found = found.verified(progress)
    network = found.empty()
    entries = found.entries(found.description.weights)
    network.load_state_dict({name: value.float() for name, value in entries.items()}, strict=True, assign=True)
    return network.eval(), found.description


def export(found: Checkpoint, layout: str, out: Path) -> Path:
    """Write a checkpoint in a layout into a new file, whole or not at all; numbers and their types stay as they are.

    Returns the file with the weights: `out`, or that inside of it where the layout is a folder.

    Args:
        found: the checkpoint.
        layout: a key of `LAYOUTS`.
        out: the file, or the folder.

    Raises:
        SpecError: no such layout, the file is there, its suffix is another, or the layout cannot hold the network.
        OSError: it cannot be written.
    """
    target = _named(layout)
    if problems := target.refusals(found.description):
        raise SpecError(problems)
    check_suffix(target, out)
    if out.exists():
        raise SpecError(f"--out: {out} is there already, and nothing is overwritten: name another file")
    weights = {kind: target.named(found.entries(kind)) for kind in found.contents.weights}
    target.write(out, weights, found.description)
    return target.weights_file(out)


def whole(found: Checkpoint) -> dict[str, Entries]:
    """Return both kinds of weights that a training has, from those of a checkpoint; what it lacks is like what it has.

    Returns:
        "model" and "ema", under the workbench's names, fixed tables among both.
    """
    kinds = found.contents.weights
    model = MODEL if MODEL in kinds else found.contents.kind()
    ema = EMA if EMA in kinds else model
    return {MODEL: found.entries(model), EMA: found.entries(ema)}


def refusals(description: Description) -> dict[str, list[str]]:
    """Return layout -> why it cannot hold a network, a line each; none where it can."""
    return {name: layout.refusals(description) for name, layout in LAYOUTS.items()}


def suffixes(layout: str) -> tuple[str, ...]:
    """Return how names of files of a layout end, the usual one first."""
    return _named(layout).suffixes


def _named(layout: str) -> Layout:
    if layout not in LAYOUTS:
        raise SpecError(f"--layout: no layout {layout!r}; {did_you_mean(layout, LAYOUTS)}")
    return LAYOUTS[layout]


def _contents(path: Path) -> Contents:
    if not path.exists() and is_published(str(path)):
        path = find_whole(str(path))
    for layout in LAYOUTS.values():
        if (contents := layout.at(path)) is not None:
            return contents
    if path.is_dir():
        raise SpecError(f"{path}: is a folder of no layout: {_inside(path)}")
    return read_file(path)


def _inside(path: Path) -> str:
    """What a folder that is no checkpoint has inside that may be meant."""
    near = [*sorted(path.glob("seed-*")), *sorted(path.glob("*/seed-*")), *sorted(path.glob("*.pt"))]
    near += sorted(path.glob("*.safetensors"))
    if near:
        return f"did you mean {' or '.join(map(str, near[:3]))}?"
    return "name a file, or a training, an evaluation or a replicate of a runs folder"


def _layout_of(contents: Contents) -> Layout:
    """The layout that nothing speaks against.

    Raises:
        RunError: there is none; the message says what was seen, and what the nearest one lacks.
    """
    against = {name: layout.objections(contents) for name, layout in LAYOUTS.items()}
    for name, objections in against.items():
        if not objections:
            return LAYOUTS[name]
    name = min(against, key=lambda name: len(against[name]))
    nearest = f"nearest is {name} ({LAYOUTS[name].title}), but it {'; '.join(against[name][:3])}"
    raise RunError(f"{contents.path}: is of no layout known here: it holds {'; '.join(seen(contents))}; {nearest}")


def _described(contents: Contents, layout: Layout, network: Network) -> Description:
    kinds, kind, spec = tuple(contents.weights), contents.kind(), network.spec
    if contents.spec is not None:
        spec = contents.spec.model_dump(mode="json", exclude={"runtime"})
    dtypes = sorted({str(value.dtype).removeprefix("torch.") for value in contents.weights[kind].values()})
    return Description(
        path=contents.path,
        layout=layout.name,
        form=contents.wrapping,
        model=network.model,
        latents=network.latents,
        out_channels=network.out_channels,
        null_label=network.null_label,
        heads_by=network.heads_by,
        kinds=kinds,
        weights=kind,
        compiled=contents.compiled,
        dtype=", ".join(dtypes),
        step=network.step if contents.step is None else contents.step,
        spec=spec,
        plugins=network.plugins,
    )


def _refuse_disagreement(said: Assumed, network: Network, path: Path) -> None:
    """Refuse what the user says of a network that its file says otherwise.

    Raises:
        SpecError: with both values, a line each.
    """
    wrong = []
    for name in ("heads", "classes"):
        given, own = getattr(said, name), getattr(network.model, name)
        if given is not None and given != own:
            wrong.append(f"--{name}: {given} is given, and {path} says {own}: leave --{name} out")
    if others := [plugin for plugin in said.plugins if plugin not in network.plugins]:
        own = f"has parts of {', '.join(network.plugins)}" if network.plugins else "has no parts of plug-ins"
        wrong.append(f"--plugin: {', '.join(others)} is given, and {path} {own}: leave it out")
    if wrong:
        raise SpecError(wrong)


def _refuse_other_entries(found: Checkpoint, empty: nn.Module, kind: str) -> None:
    """Refuse entries that are missing, left over, or of another shape than the network's, under the file's names.

    Raises:
        RunError: there are such; some are named.
    """
    own, given = empty.state_dict(), found.entries(kind)
    shapes = {name: (tuple(own[name].shape), tuple(given[name].shape)) for name in own if name in given}
    wrong = [("missing {}", name) for name in own if name not in given]
    wrong += [("unexpected {}", name) for name in given if name not in own]
    wrong += [
        (f"{{}} is {is_one}, the network has {wanted}", name)
        for name, (wanted, is_one) in shapes.items()
        if is_one != wanted
    ]
    if wrong:
        called = found.layout.called({**given, **own})
        shown = "; ".join(text.format(called[name]) for text, name in wrong[:SHOWN])
        more = f"; and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise RunError(
            f"{found.contents.path}: does not fit the network of its layout, {found.layout.name}: {shown}{more}"
        )
