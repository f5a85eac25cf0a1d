"""What is known of a checkpoint: its layout, its network, and which weights it holds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from components.model.patch_embeddings import LatentShape
from registry.errors import SpecError
from registry.parts.start_files import sha256_of
from registry.schema.sizes import SIZES
from registry.schema.spec import ModelSpec

HEAD_WIDTHS = (64, 72)  # channels of a head in the paper's sizes: 64 in S, B and L, 72 in XL

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Assumed:
    """What a user says of a network because its weights cannot; None where nothing is said.

    Args:
        heads: heads of each attention.
        classes: classes of the label table, without the null label.
        plugins: modules with parts that a file's network may have.
    """

    heads: int | None = None
    classes: int | None = None
    plugins: tuple[str, ...] = ()


@dataclass(frozen=True)
class Description:
    """A checkpoint, described.

    Attributes:
        path: the file or folder.
        layout: whose names it has.
        form: how the weights lie in it.
        model: the network's section of a spec, resolved.
        latents: (F, C, H, W) of a clip.
        out_channels: C_out.
        null_label: whether the label table has a last row for the dropped label.
        heads_by: what the number of heads is taken from.
        kinds: which weights it holds: ema, model, or weights where the file does not say which they are.
        weights: which of them are described, and opened.
        compiled: whether its names had the prefix of a compiled network, which official sampling cannot load.
        dtype: of the numbers.
        parameters: learned parameters.
        step: of the training, where it is known.
        spec: further sections of a spec that it carries: how it was trained.
        plugins: modules with its network's parts.
        digest: SHA-256 of the file, empty where it was not asked for.
    """

    path: Path
    layout: str
    form: str
    model: ModelSpec
    latents: LatentShape
    out_channels: int
    null_label: bool
    heads_by: str
    kinds: tuple[str, ...]
    weights: str
    compiled: bool
    dtype: str
    parameters: int = 0
    step: int | None = None
    spec: Mapping[str, Any] | None = None
    plugins: tuple[str, ...] = ()
    digest: str = ""

    @property
    def size(self) -> str | None:
        """The paper's size of that depth and width, None where it has none."""
        measures = (self.model.depth, self.model.width, self.model.heads)
        return next((name for name, size in SIZES.items() if tuple(size) == measures), None)

    @property
    def frames(self) -> int:
        return self.latents[0]

    @property
    def channels(self) -> int:
        return self.latents[1]

    @property
    def classes(self) -> int:
        return self.model.classes

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of a frame's patches."""
        return self.latents[2] // self.model.patch, self.latents[3] // self.model.patch

    @property
    def learned_sigma(self) -> bool:
        """Whether the network also predicts the variance: 2C channels come out."""
        return self.out_channels == 2 * self.channels

    def rows(self) -> dict[str, Any]:
        """Return the description as plain values, for a table and for programs."""
        return {
            "path": str(self.path),
            "layout": self.layout,
            "form": self.form + (", compiled" if self.compiled else ""),
            "weights": list(self.kinds),
            "opens": self.weights,
            "size": self.size,
            "depth": self.model.depth,
            "width": self.model.width,
            "heads": self.model.heads,
            "heads_by": self.heads_by,
            "patch": self.model.patch,
            "classes": self.classes,
            "null_label": self.null_label,
            "frames": self.frames,
            "channels": self.channels,
            "latent": list(self.latents[2:]),
            "grid": list(self.grid),
            "learned_sigma": self.learned_sigma,
            "parameters": self.parameters,
            "dtype": self.dtype,
            "step": self.step,
            "sha256": self.digest or None,
        }


def heads_of(width: int, assumed: Assumed) -> tuple[int, str]:
    """Return the heads of a network of that width, and by what they are known: a state dict does not say.

    The user's number; else that of the paper's size of this width (table 1); else width / 64 or width / 72, whichever
    of the paper's two head widths divides.

    Raises:
        SpecError: both divide, or neither; or the user's number does not.
    """
    if assumed.heads is not None:
        if width % assumed.heads:
            raise SpecError(f"--heads: {assumed.heads} heads do not divide the width {width}")
        return assumed.heads, "--heads"
    for name, size in SIZES.items():
        if size.width == width:
            return size.heads, f"the paper's size {name}"
    fitting = [head for head in HEAD_WIDTHS if width % head == 0]
    if len(fitting) != 1:
        found = "either of 64 and 72 may be the width of a head" if fitting else "neither 64 nor 72 divides it"
        raise SpecError(f"--heads: the file does not say how many heads the width {width} has, and {found}: name them")
    return width // fitting[0], f"heads of {fitting[0]} channels"


def classes_of(rows: int, assumed: Assumed) -> tuple[int, bool]:
    """Return classes, and whether there is a null label, of a label table of so many rows.

    The last row is taken for the null label, since the official training drops labels; the user can say otherwise.

    Raises:
        SpecError: the user's number of classes is not that of such a table.
    """
    if assumed.classes is None:
        return (rows - 1, True) if rows > 1 else (rows, False)
    if assumed.classes not in (rows, rows - 1):
        raise SpecError(
            f"--classes: the label table has {rows} rows: {rows - 1} classes and the null label, or {rows} classes; "
            f"not {assumed.classes}"
        )
    return assumed.classes, assumed.classes == rows - 1


def digest_of(path: Path, progress: Progress) -> str:
    """Return the SHA-256 of a file.

    Args:
        path: the file.
        progress: is called with what is done, the bytes done and all bytes.
    """
    return sha256_of(path, partial(progress, f"SHA-256 of {path.name}"))
