"""The prepared data, the latent cache and the autoencoder of a replicate, as its run folder names them."""

from pathlib import Path
from typing import Any

from components.assembly import Assembly
from components.data.autoencoders import Decoder
from components.data.caption_cache import CaptionCache, CaptionFiles
from components.data.manifest import Manifest
from components.data.prepare import Prepared
from components.data.standardisation import Standardisation, StandardisedDecoder
from components.data.text_encoders import TextEncoder
from experiments.record.recording import bound_data, prepared_data
from experiments.training.devices import device_of
from registry.errors import RunError
from registry.runs.records import PreparedData
from registry.runs.replicate import Replicate
from registry.schema.spec import Spec


def open_data(replicate: Replicate) -> tuple[Prepared, Any]:
    """The prepared data set and latent cache that the launcher left for this replicate.

    Raises:
        RunError: they are gone, or the manifest is another one than when the run folder was made.
    """
    spec = replicate.spec
    data = prepared_data(replicate.training)
    if data is None:
        raise RunError(f"{replicate.training}: its data are not prepared yet; launch the experiment again")
    assembly = Assembly(spec)
    prepared = Prepared(assembly.dataset(), Path(data.folder))
    if prepared.digest != data.digest:
        raise RunError(
            f"{prepared.folder}: the data changed since this training was launched; launch with another --runs folder"
        )
    own = spec.data
    cache = prepared.build_cache(assembly.autoencoder(), own.resolution, own.transform, own.antialias, own.flip > 0)
    if (cache.standardisation and cache.standardisation.statistics) != data.latents:
        raise RunError(
            f"{replicate.training}: its latents are standardised by other numbers than when it was launched; launch "
            "with another --runs folder"
        )
    return prepared, cache


def open_captions(spec: Spec, training: Path) -> CaptionCache | None:
    """Return the embeddings of a data set's captions as a training was launched with them; None where it reads none.

    The text encoder is read only where they are not there any more.

    Args:
        spec: of the training.
        training: its folder.

    Raises:
        RunError: the captions, or the weights of the text encoder, are not those that the training was launched with.
    """
    if spec.data.text_encoder is None:
        return None
    data, manifest = captioned_data(training)

    def encoder() -> TextEncoder:
        found = Assembly(spec).text_encoder().to(device_of(spec))
        if found.fingerprint() != data.text_encoder:
            raise RunError(f"{training}: its captions were encoded by other weights of the text encoder")
        return found

    length = spec.data.text_encoder.parameters["length"]
    return CaptionFiles.of(Path(data.folder), manifest, data.text_encoder, length).opened(encoder)


def captioned_data(training: Path) -> tuple[PreparedData, Manifest]:
    """Return what a training's folder says of its data, and their manifest with the captions that it was launched with.

    Raises:
        RunError: its data are not there, or their captions are others by now.
    """
    if (data := bound_data(training)) is None:
        raise RunError(f"{training}: its data are not prepared yet; launch the experiment again")
    manifest = Manifest.read(Path(data.folder))
    if data.captions != manifest.captions_digest:
        raise RunError(
            f"{data.folder}: the captions changed since {training} was launched; launch with another --runs folder"
        )
    return data, manifest


def open_decoder(spec: Spec, training: Path) -> Decoder:
    """Return what decodes what a training's network draws: its standardisation is undone first.

    Args:
        spec: says the autoencoder.
        training: its folder, or a file of weights that was not made here; it may say how latents were standardised.

    Raises:
        RunError: it does not say so, and the autoencoder states no scale.
    """
    autoencoder = Assembly(spec).autoencoder()
    if autoencoder.scale is not None:
        return autoencoder
    data = prepared_data(training) if training.is_dir() else None
    if data is None or data.latents is None:
        raise RunError(
            f"{training}: does not say by what its latents are standardised, and the autoencoder "
            f"{spec.data.autoencoder.name} states no scale: sample the run that it was trained in, or launch it again"
        )
    return StandardisedDecoder(autoencoder, Standardisation(data.latents))
