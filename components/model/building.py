"""The network of a spec's section `model`, put together from its parts, for an assembly and for a checkpoint."""

from components.model.latte import Latte
from components.model.patch_embeddings import LatentShape
from registry.parts.catalogue import Catalogue
from registry.schema.spec import ModelSpec


def build_network(
    model: ModelSpec, latents: LatentShape, out_channels: int, null_label: bool, parts: Catalogue
) -> Latte:
    """Return the network on the default device, without initial weights.

    Args:
        model: a resolved section.
        latents: (F, C, H, W) of a clip.
        out_channels: C_out, as the objective asks.
        null_label: whether the label table has a row for the dropped label.
        parts: the catalogue.

    Raises:
        SpecError: shapes that do not go together.
    """
    embedding = model.patch_embedding.model_dump()
    patches = parts.build("patch_embedding", embedding, latents, model.patch, model.width, out_channels)
    position = parts.build("temporal_position", model.temporal_position.model_dump(), patches.token_frames, model.width)
    conditioning = parts.build("conditioning", model.conditioning.model_dump(), model.width, model.classes, null_label)
    blocks = parts.build("blocks", model.blocks.model_dump(), model.depth, model.width, model.heads, conditioning)
    spatial = parts.build("spatial_position", model.spatial_position.model_dump(), model.width, patches.grid)
    return Latte(patches, position, conditioning, blocks, spatial, parts.build("qk_norm", model.qk_norm.model_dump()))
