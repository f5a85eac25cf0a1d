"""Slot `initialisation`: what weights training starts from."""

from typing import Literal

import torch

from components.learning import start_weights
from components.learning.contracts import Initialisation
from components.learning.start_weights import Entries
from components.model.latte import Latte
from registry.errors import RunError, SpecError
from registry.parts.catalogue import part
from registry.parts.start_files import digest_of, file_at, sha256_of
from registry.schema.parameter_types import NonNegativeInt

NO_START = "give the file, or the folder of the training, that is started from (or an experiment and its arm)"
LABELS = "conditioning.label.weight"  # the table of classes
TEMPORAL = "temporal_position."  # what image networks have no use for
ADDED = "_temporal."  # in names of modules that stand in a block beside the image network's own


@part("initialisation", "scratch")
class Scratch(Initialisation):
    """Fresh random weights, drawn from the replicate's seed.

    Source: golden README, 1 "Initialisation in the original"; DiT, arXiv 2212.09748, section 3.2
    Official code: yes (models/latte.py, initialize_weights)
    """

    def __init__(self) -> None:
        pass

    def __call__(self, model: Latte, generator: torch.Generator) -> None:
        """Set every learned weight of the network."""
        model.initialise(generator)


@part("initialisation", "checkpoint")
class Checkpoint(Initialisation):
    """The weights of another training, or of a file of the same shape; optimiser and step begin anew.

    `path` is a file (of this workbench or with the official names), or the folder of a training in a runs folder, whose
    last step is meant. `weights`: averaged ones or those of the last step; left out, averaged where there are any. The
    average of the new training starts equal to the weights. `sha256` belongs to the identity, the path does not; left
    out, it is filled in. Or the start is a training that an experiment makes: `experiment` is its file, `arm` the arm,
    `seed` one seed for all (left out: the replicate's own), `step` an earlier one than its last, which is then
    evaluated there and whose checkpoint is kept; `training`, its identity, is filled in.

    Source: golden README, 10.3 (official files); the usual fine-tuning
    Official code: yes (train.py, pretrained)
    """

    requires: tuple[tuple[str, str, str], ...] = (
        (
            "path",
            "path == '' or experiment == ''",
            "{name} starts from one thing: the path of a file or of a training's folder, or an experiment's arm",
        ),
        (
            "training",
            "training == '' or experiment != ''",
            "{name}: training is filled in where an experiment is named; give the experiment and its arm",
        ),
        ("arm", "arm == 'baseline' or experiment != ''", "{name}: arm is one of an experiment; give that as well"),
        (
            "seed",
            "seed is None or experiment != ''",
            "{name}: seed is that of an experiment's training; the folder of a training (path) is of one seed already",
        ),
        (
            "step",
            "step is None or experiment != ''",
            "{name}: step is that of an experiment's training; of a training's folder name the checkpoint (path)",
        ),
    )

    def __init__(
        self, *, path: str = "", weights: Literal["ema", "model"] | None = None, sha256: str = "",
        experiment: str = "", arm: str = "baseline", seed: NonNegativeInt | None = None,
        step: NonNegativeInt | None = None, training: str = "",
    ) -> None:  # fmt: skip
        self.path, self.weights, self.sha256 = path, weights, sha256
        self.training = training

    def __call__(self, model: Latte, generator: torch.Generator) -> None:
        """Set every learned weight to that of the file.

        Raises:
            RunError: the file is gone, is another one than when it was named, or does not fit.
        """
        if not self.path:
            raise RunError(f"learning.initialisation.path: {NO_START}")
        try:
            file = file_at(self.path)
            found = sha256_of(file)
        except SpecError as error:
            raise RunError(f"learning.initialisation.path: {error}") from None
        except OSError as error:
            raise RunError(f"learning.initialisation.path: {self.path}: {error.strerror}") from None
        if found != (wanted := self.sha256 or digest_of(file)):
            raise RunError(self._another(found, wanted))
        entries = start_weights.read(file, self.weights)
        if wrong := self.mismatches(model, entries):
            raise RunError(f"{file}: {start_weights.told(wrong)}")
        self.take_over(model, entries, generator)

    def refuse(self, model: Latte, launching: bool) -> None:
        if self.training:
            return  # it may not be trained yet; `check` holds the two networks against each other
        if not self.path:
            if launching:
                raise SpecError(f"learning.initialisation.path: {NO_START}")
            return
        try:
            file = file_at(self.path)
            found = digest_of(file)
            if self.sha256 and found != self.sha256:
                raise SpecError(self._another(found, self.sha256))
            wrong = self.mismatches(model, start_weights.read(file, self.weights))
        except SpecError as error:
            raise SpecError([f"learning.initialisation.path: {line}" for line in error.problems]) from None
        except RunError as error:
            raise SpecError(f"learning.initialisation.path: {error}") from None
        if wrong:
            raise SpecError(f"learning.initialisation.path: {file}: {start_weights.told(wrong)}")

    def _another(self, found: str, wanted: str) -> str:
        return f"{self.path} has SHA-256 {found}, not {wanted}: it is damaged, or not the file that was named"

    def mismatches(self, model: Latte, entries: Entries) -> list[str]:
        """Return what keeps the entries from being this network's, a line each."""
        return start_weights.mismatches(model, entries)

    @torch.no_grad()
    def take_over(self, model: Latte, entries: Entries, generator: torch.Generator) -> None:
        """Set the network's weights from entries that fit."""
        start_weights.copy(model, entries)


@part("initialisation", "dit_image")
class DiTImage(Checkpoint):
    """An image network (DiT) as the start of a video network: its blocks become spatial and temporal ones in order.

    `path` is DiT's flat file, or an image training of this workbench (`data.frames: 1`, blocks of full attention).
    Both mappings take over every weight that has the same name, so that DiT's odd blocks become variant 1's temporal
    blocks. They differ in the label table: `by_name`, as the official code does, takes it over where both networks have
    as many rows, and draws it anew where they have not (the official code fails there); `described`, as the paper text
    has it, discards and zeroes it. The paper's "positions repeated over the frames" holds in both: the fixed table
    is added to each frame, and recomputed for another grid, never interpolated.

    Of blocks with a second attention beside the image network's own (variant 3), that is drawn afresh and its output
    projection is zero, so that training starts from the image network frame by frame: our reading. Refused are another
    depth, width, patch or channels of output, and blocks whose attention splits the heads (variant 4), where equal
    shapes do not mean equal heads.

    Source: paper, section 3.4 and version 1's text on initialisation; golden README, 11
    Official code: yes for by_name with variant 1 (train.py, utils.py); no for described, nor for other variants
    """

    requires = (
        (
            "",
            "model.blocks.branches == 1",
            "{name}: {model.blocks} splits the heads in {model.blocks.branches} branches, an image network does not",
        ),
    )

    def __init__(
        self,
        *,
        path: str = "",
        mapping: Literal["by_name", "described"] = "by_name",
        weights: Literal["ema", "model"] | None = None,
        sha256: str = "",
        experiment: str = "",
        arm: str = "baseline",
        seed: NonNegativeInt | None = None,
        step: NonNegativeInt | None = None,
        training: str = "",
    ) -> None:
        super().__init__(path=path, weights=weights, sha256=sha256, training=training)
        self.mapping = mapping

    def mismatches(self, model: Latte, entries: Entries) -> list[str]:
        depth = start_weights.depth_of(entries)
        if depth != len(model.blocks):
            return [f"it has {depth} blocks, the network has {len(model.blocks)} (model.depth)"]
        kept = self._kept(model, entries)
        return start_weights.mismatches(model, entries, besides={*kept, LABELS, *start_weights.TABLES})

    @torch.no_grad()
    def take_over(self, model: Latte, entries: Entries, generator: torch.Generator) -> None:
        model.initialise(generator)
        kept = self._kept(model, entries)
        start_weights.copy(model, {name: value for name, value in entries.items() if name not in kept})
        for name, parameter in model.named_parameters():
            second = name in kept and name.startswith("blocks.") and ".proj." in name
            if second or (name == LABELS and self.mapping == "described"):
                parameter.zero_()

    def _kept(self, model: Latte, entries: Entries) -> set[str]:
        """Names of the network's weights that the image network does not give."""
        own = start_weights.learned(model)
        kept = {name for name in own if name.startswith(TEMPORAL) or (name not in entries and ADDED in name)}
        labels = entries.get(LABELS)
        same = labels is not None and LABELS in own and labels.shape == own[LABELS].shape
        return kept if same and self.mapping == "by_name" else kept | {LABELS}
