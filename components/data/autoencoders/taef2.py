"""The autoencoder `taef2`: a small network with 32 channels a position, read from its published files."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from components.data.autoencoders.networks import divide, hash_of, in_batches
from components.unpickling import load_tensors
from components.weights import KNOWN, find, refuse_damaged, sha256_of
from registry.errors import RunError, SpecError, shortened
from registry.parts.catalogue import part
from registry.paths import expanded

if TYPE_CHECKING:
    import torch
    from torch import Generator, Tensor, nn

FILES = {"encoder": "taef2_encoder", "decoder": "taef2_decoder"}  # half -> name in components.weights.KNOWN


@part("autoencoder", "taef2")
class TinyFlux2Autoencoder:
    """A small autoencoder with the latents of FLUX.2's VAE: 32 channels at 1/8, one deterministic latent a frame.

    Frames are coded one by one, each as a whole: its group norm spans the picture. It states no scale, so its latents
    are standardised by the mean and spread that each channel has over the training split (docs/autoencoders.md). The
    weights are two small files; left empty, the environment variables LATTE_WORKBENCH_TAEF2_ENCODER and
    LATTE_WORKBENCH_TAEF2_DECODER and then the cache folder are looked at, into which `fetch-weights taef2` puts them.

    Source: none in the paper; TAEF2 by O. B. Bohan (madebyollin/taesd, commit 5cccb12, MIT licence).
    Official code: no, our own addition.

    Args:
        resolution: side of the frames in pixels, a multiple of 8.
        weights: a folder with taef2_encoder.pth and taef2_decoder.pth.

    Raises:
        SpecError: 8 does not divide the resolution, or the folder or a file is not there.
        RunError: the weights are not on this machine, or a file is not one of these weights.
    """

    scale = None

    def __init__(self, resolution: int, *, weights: str = "") -> None:
        import torch

        from components.data.autoencoders.taef2_network import Halves

        self.latent_shape = self.plan_shape(resolution, {"weights": weights})
        self.channels = self.moments = self.latent_shape[0]
        with torch.device("meta"):  # no default initialisation, which would draw from the global generator
            self.network = Halves()
        for half, name in FILES.items():
            _fill(getattr(self.network, half), name, weights)

    @classmethod
    def plan_shape(cls, resolution: int, parameters: Mapping[str, Any]) -> tuple[int, int, int]:
        """(32, R/8, R/8); SpecError where 8 does not divide the resolution."""
        side = divide(resolution, 8, "data.autoencoder taef2")
        return 32, side, side

    def encode_moments(self, frames: "Tensor") -> "Tensor":
        """Frames (N, 3, H, W) in [-1, 1] -> moments (N, 32, h, w): the latents themselves, as the files give them."""
        return in_batches(lambda some: self.network.encoder((some + 1) / 2), frames, self.network)

    @staticmethod
    def draw(moments: "Tensor", generator: "Generator | None" = None) -> "Tensor":
        """Moments (..., C, h, w) -> latents of the same shape; nothing is random here."""
        return moments

    def decode(self, latents: "Tensor") -> "Tensor":
        """Latents (N, 32, h, w) -> frames (N, 3, H, W), in [-1, 1] but for overshoots of the decoder."""
        return in_batches(lambda some: self.network.decoder(some) * 2 - 1, latents, self.network)

    def fingerprint(self) -> str:
        """Hash of the weights; equal fingerprints give equal moments."""
        return f"taef2-{hash_of(self.network, 1.0)}"

    def to(self, device: "torch.device | str") -> "TinyFlux2Autoencoder":
        self.network.to(device)
        return self


def _fill(half: "nn.Module", name: str, folder: str) -> None:
    """Give one half its weights: from the folder, or from where published weights are looked for."""
    from components.data.autoencoders.taef2_network import fill

    if folder and not expanded(folder).is_dir():
        files = " and ".join(KNOWN[one].file for one in FILES.values())
        raise SpecError(f"data.autoencoder.weights: there is no folder {folder!r}; it should hold {files}")
    given = str(expanded(folder) / KNOWN[name].file) if folder else ""
    instead = "use the autoencoder 'pixels', which needs none"
    path = find(name, given=given, setting="data.autoencoder.weights", instead=instead)
    refuse_damaged(path, sha256_of(path))
    state = load_tensors(path, f"weights of {name}")
    try:
        fill(half, state)
    except RuntimeError as error:
        told = shortened(" ".join(str(error).split()), 200)
        raise RunError(f"{path}: these are not the weights of {name}: {told}") from None
