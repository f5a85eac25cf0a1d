"""DiT's layout: an image network under the names of Latte's, opened as a network of one frame.

Source: golden README, 11; DiT, arXiv 2212.09748.
"""

from components.model.checkpoints.contents import Contents, Entries
from components.model.checkpoints.description import Description
from components.model.checkpoints.official import TEMPORAL, OfficialLayout
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
