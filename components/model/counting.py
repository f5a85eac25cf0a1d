"""Learned parameters, and multiply-accumulates in two named conventions, counted on a network without memory.

`paper_convention` is the paper's "FLOPs" column: what the thop package says of the reference for a batch of three
clips: linear layers, the patch convolution and norms, but no attention products, and no factor 2. `per_clip` is one
clip with the attention products QK^T and AV, and without norms. Both count the modulation layers on as many rows as
the reference does, which repeats the condition for every frame or location; ours evaluates them once a clip, and
`evaluated` is what this code really multiplies.

Source: golden README, 6; facts/paper.md, 2.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from components.model.attention import Attention, CrossAttention, Text
from components.model.latte import Latte

PAPER_BATCH = 3
CAPTION_TOKENS = 120  # of a caption as the public text-to-video model pads it (diffusers' LattePipeline)


@dataclass
class Counts:
    """Counts of one network for one clip; MACs are whole numbers.

    Args:
        parameters: learned parameters, without fixed position tables.
        linear: linear layers, modulation layers on one row a clip.
        modulation_repeats: what the reference's repeated modulation rows add to `linear`.
        patch_convolution: convolution of the patch embedding.
        stretch: transposed convolution of `compression_frame`.
        attention: the products QK^T and AV; a caption counts with all the tokens that it is padded to.
        norms: what thop counts for layer norms: 2 an element, twice that with affine parameters.
        paper_counts_patch_convolution: False for variants whose printed figure lacks it.
    """

    parameters: int = 0
    linear: int = 0
    modulation_repeats: int = 0
    patch_convolution: int = 0
    stretch: int = 0
    attention: int = 0
    norms: int = 0
    paper_counts_patch_convolution: bool = True
    handles: list[torch.utils.hooks.RemovableHandle] = field(default_factory=list, repr=False)

    @property
    def paper_convention(self) -> int:
        """The paper's convention: thop's count for a batch of three clips."""
        convolutions = self.stretch + (self.patch_convolution if self.paper_counts_patch_convolution else 0)
        return PAPER_BATCH * (self.linear + self.modulation_repeats + convolutions + self.norms)

    @property
    def per_clip(self) -> int:
        """One clip with attention products, modulation rows as in the reference."""
        return self.evaluated + self.modulation_repeats

    @property
    def evaluated(self) -> int:
        """One clip as this code evaluates it."""
        return self.linear + self.patch_convolution + self.stretch + self.attention


def count(model: Latte, channels: int, stills: int = 0, caption_tokens: int = CAPTION_TOKENS) -> Counts:
    """Count a network by one forward pass of one clip; on the meta device this takes no memory and no arithmetic.

    Args:
        model: the network; its grid, patch and frames give the shape of the clip.
        channels: latent channels C.
        stills: how many stand behind the clip, as in joint training; their own modulation rows are counted.
        caption_tokens: to which captions are padded, where the network reads them.
    """
    patches, device = model.patch_embedding, next(model.parameters()).device
    counts = Counts(
        parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
        paper_counts_patch_convolution=getattr(model.blocks, "paper_counts_patch_convolution", True),
    )
    rows, columns = (side * patches.patch for side in patches.grid)
    latents = torch.zeros(1, patches.frames + stills, channels, rows, columns, device=device)
    t = torch.zeros(1, device=device)
    labels = torch.zeros(1, 1 + stills, dtype=torch.int64, device=device) if model.conditioning.classes else None
    text_width = model.conditioning.text_width
    text = torch.zeros(1, caption_tokens, text_width, device=device) if text_width else None
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.Conv3d, nn.ConvTranspose3d, nn.LayerNorm)):
            counts.handles.append(module.register_forward_hook(lambda m, i, o: _layer(counts, m, i[0], o)))
        elif isinstance(module, Attention):
            counts.handles.append(module.register_forward_hook(lambda m, i, o: _products(counts, i[0], i[1])))
        elif isinstance(module, CrossAttention):
            counts.handles.append(module.register_forward_hook(lambda m, i, o: _products_with_text(counts, *i)))
    with torch.no_grad():
        of_clip, of_stills = (None, None) if labels is None else (labels[:, 0], labels[:, 1:])
        model(latents, t, of_clip, of_stills, text=text)
    for handle in counts.handles:
        handle.remove()
    counts.handles.clear()
    counts.modulation_repeats = _repeats(model)
    return counts


def _layer(counts: Counts, module: nn.Module, inputs: Tensor, output: Tensor) -> None:
    if isinstance(module, nn.Linear):
        counts.linear += output.numel() * module.in_features
    elif isinstance(module, nn.ConvTranspose3d):
        counts.stretch += inputs.numel() * module.weight[0].numel()
    elif isinstance(module, (nn.Conv2d, nn.Conv3d)):
        counts.patch_convolution += output.numel() * module.weight[0].numel()
    elif isinstance(module, nn.LayerNorm):
        counts.norms += inputs.numel() * (4 if module.elementwise_affine else 2)


def _products(counts: Counts, tokens: Tensor, axis: str) -> None:
    _, frames, per_frame, _ = tokens.shape
    attended = {"spatial": per_frame, "temporal": frames, "full": frames * per_frame}[axis]
    counts.attention += 2 * tokens.numel() * attended


def _products_with_text(counts: Counts, tokens: Tensor, text: Text) -> None:
    counts.attention += 2 * tokens.numel() * text.tokens.shape[1]


def _repeats(model: Latte) -> int:
    """MACs of the rows by which the reference repeats each modulation layer beyond the first."""
    frames, tokens = model.patch_embedding.token_frames, model.patch_embedding.tokens_per_frame
    total = 0
    for index, block in enumerate(model.blocks):
        if weights := _linear_weights(block.adaLN_modulation):
            total += (model.blocks.reference_modulation_rows(index, frames, tokens) - 1) * weights
    return total + (frames - 1) * _linear_weights(model.head_modulation)


def _linear_weights(module: nn.Module | Tensor | None) -> int:
    """Weights of the linear layers of a modulation, biases left out; none where there is no modulation."""
    layers = module.modules() if isinstance(module, nn.Module) else ()
    return sum(layer.weight.numel() for layer in layers if isinstance(layer, nn.Linear))
