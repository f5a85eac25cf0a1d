"""DiT's layout: an image network under the names of Latte's, opened as a network of one frame.

Source: golden README, 11; DiT, arXiv 2212.09748.
"""

from collections.abc import Mapping

from torch import Tensor

from components.model.checkpoints.contents import Contents, Entries
from components.model.checkpoints.description import Description
from components.model.checkpoints.official import TEMPORAL, OfficialLayout, load_official, to_official
from components.model.latte import Latte
from registry.schema.section import Part
from registry.schema.spec import ModelSpec


class DiTLayout(OfficialLayout):
    """Image networks: one frame, no table of frames, and all blocks spatial: over one frame that is full attention."""

    name, title = "dit", "DiT (images)"

    def objections(self, contents: Contents) -> list[str]:
        video = [f"has {TEMPORAL}, which no image network has"] if TEMPORAL in contents.weights[contents.kind()] else []
        return super().objections(contents) + video

    def model(self, **measures: int) -> ModelSpec:
        parts = {"blocks": Part(name="full_attention"), "temporal_position": Part(name="none")}
        return ModelSpec.model_validate({**measures, **parts})

    def frames(self, entries: Entries) -> int:
        return 1

    def refusals(self, description: Description) -> list[str]:
        clip = f"data.frames: {description.frames} frames have no place in the layout {self.name}, which holds 1"
        return super().refusals(description) + ([clip] if description.frames != 1 else [])


def load_dit(model: Latte, entries: Mapping[str, Tensor]) -> tuple[list[str], list[str]]:
    """Start from an image checkpoint by the official rule: every entry with a name of the target is taken over.

    DiT's odd blocks thereby become temporal blocks. The label table is dropped where the class counts differ (the
    official load fails there), and fixed position tables of another grid are recomputed, never interpolated.

    Returns:
        Official names of the dropped DiT entries, and of the network's entries that keep their own values.

    Raises:
        RunError: any other entry has another shape.
    """
    own = to_official(model.state_dict())
    recomputed = ("pos_embed", "y_embedder.embedding_table.weight")
    taken = {
        name: value
        for name, value in entries.items()
        if name in own and not (name in recomputed and value.shape != own[name].shape)
    }
    load_official(model, own | taken)
    return [name for name in entries if name not in taken], [name for name in own if name not in taken]
