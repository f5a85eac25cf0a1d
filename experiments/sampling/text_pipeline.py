"""Opening a text-to-video model: a folder, or a name on the Hugging Face Hub, of diffusers' `LattePipeline`.

Only safetensors are read, and only classes that such a pipeline is made of: a folder from somewhere runs no code.
"""

import importlib
import importlib.util
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from registry.errors import RunError, SpecError, did_you_mean, shortened
from registry.parts.catalogue import Catalogue
from registry.paths import expanded

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
INDEX, PIPELINE = "model_index.json", "LattePipeline"
TEMPORAL_DECODER = "vae_temporal_decoder"  # the folder beside `vae` in the published model
TEXT_EXTRA = "pip install -e '.[text]' -c constraints.txt"
PATTERNS = ["*.json", "*.safetensors", "*.model", "*.txt"]  # of a repository: neither pickles nor code
KNOWN = {
    "tokenizer": ("transformers", re.compile(r"T5Tokenizer(Fast)?")),
    "text_encoder": ("transformers", re.compile("T5EncoderModel")),
    "vae": ("diffusers", re.compile(r"AutoencoderKL(TemporalDecoder)?")),
    "transformer": ("diffusers", re.compile("LatteTransformer3DModel")),
    "scheduler": ("diffusers", re.compile(r"\w+Scheduler")),
}
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class Opened:
    """A pipeline on its device, and what it is made of.

    Args:
        pipeline: diffusers' `LattePipeline`.
        folder: where it was read.
        decoder: temporal, where the autoencoder decodes frames together, else frames.
        scheduler: class of the scheduler, and its settings.
    """

    pipeline: Any
    folder: Path
    decoder: str
    scheduler: dict[str, Any]

    @property
    def frames(self) -> int:
        """Frames of a video that its temporal positions are for."""
        return int(self.pipeline.transformer.config.video_length)

    @property
    def multiple(self) -> int:
        """What a side in pixels has to be a multiple of: a patch of the latent."""
        return int(self.pipeline.vae_scale_factor * self.pipeline.transformer.config.patch_size)

    @property
    def side(self) -> int:
        """The side in pixels that it was trained with."""
        return int(self.pipeline.vae_scale_factor * self.pipeline.transformer.config.sample_size)


def scheduler_class(name: str, parts: Catalogue) -> str:
    """Return diffusers' class of a sampler of ours, which the part itself names.

    Raises:
        SpecError: there is no such sampler, or diffusers has none for a network that predicts the noise.
    """
    classes = {
        sampler: found
        for sampler in parts.names("sampler")
        if (found := parts.find("sampler", sampler).facts.get("diffusers_scheduler"))
    }
    if name in classes:
        return str(classes[name])
    if name in parts.names("sampler"):
        raise SpecError(
            f"--scheduler: {name} does not suit a network that predicts noise at discrete timesteps; "
            f"these do: {', '.join(classes)}"
        )
    raise SpecError(f"--scheduler: no sampler {shortened(name)!r}; {did_you_mean(name, classes)}")


def check_packages(bits: int | None, device: torch.device) -> None:
    """Find out, before anything is read, whether the packages are here, and a GPU where one is needed.

    Raises:
        RunError: one is missing; the line says how to install it.
    """
    for package in ("transformers", "sentencepiece"):
        if importlib.util.find_spec(package) is None:
            raise RunError(f"text to video needs the package {package}, which is not here: {TEXT_EXTRA}")
    for package in ("bitsandbytes", "accelerate") if bits else ():
        if importlib.util.find_spec(package) is None:
            raise RunError(
                f"--bits {bits} needs the package {package}, which is not here: pip install bitsandbytes accelerate; "
                "without --bits the weights are read in --precision"
            )
    if bits and device.type != "cuda":
        raise RunError(f"--bits {bits} needs a GPU, and this runs on {device.type}; leave --bits out")


def folder_of(model: str) -> Path:
    """Return the folder of a model: the one of that path, or a name of the Hub in its cache, fetched if need be.

    Raises:
        SpecError: it is neither a folder nor such a name.
        RunError: it is not in the cache, and the Hub cannot be asked; the line says what to put where.
    """
    if (folder := expanded(model)).is_dir():
        return folder
    if not _HUB_NAME.fullmatch(model) or model.startswith("."):
        raise SpecError(f"--model: {model}: no such folder, and no name of the Hub such as maxin-cn/Latte-1")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model, allow_patterns=PATTERNS, local_files_only=True))
    except Exception:  # not in the cache, or only a part of it
        pass
    try:
        return Path(snapshot_download(model, allow_patterns=PATTERNS))
    except Exception as error:  # its client raises errors of several packages
        reason = shortened(_first_line(error), 120)
        raise RunError(
            f"--model: {model} is not in the cache of Hugging Face and cannot be fetched ({reason}); where there is a "
            f"network: hf download {model} --local-dir DIR; then bring the folder here and give --model DIR"
        ) from None


def check_index(folder: Path) -> dict[str, Any]:
    """Return `model_index.json`, which must be that of a pipeline of known classes.

    Raises:
        SpecError: the folder is none of diffusers, or is of another pipeline.
        RunError: it asks for a class that such a pipeline has not.
    """
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SpecError(f"--model: {folder}: has no {INDEX}, so it is no pipeline of diffusers") from None
    except (ValueError, OSError) as error:
        raise RunError(f"{folder / INDEX}: cannot be read: {error}") from None
    found = index.get("_class_name") if isinstance(index, dict) else None
    if found != PIPELINE:
        raise SpecError(f"--model: {folder}: is a {shortened(str(found))}, not a {PIPELINE}")
    for name, (library, classes) in KNOWN.items():
        said = index.get(name)
        if not (isinstance(said, list) and len(said) == 2 and said[0] == library and classes.fullmatch(str(said[1]))):
            raise RunError(f"{folder / INDEX}: {name} is {shortened(str(said))}, not {classes.pattern} of {library}")
        if not (folder / name).is_dir():
            raise RunError(f"{folder}: the folder {name} is missing")
    return dict(index)


def open_pipeline(
    folder: Path, scheduler: str | None, precision: str, bits: int | None, device: torch.device, *, image: bool
) -> Opened:
    """Open the pipeline of a folder on a device.

    Args:
        folder: with `model_index.json` and a folder for each component.
        scheduler: diffusers' class in place of the folder's own, or None.
        precision: of weights and arithmetic, one of `PRECISIONS`.
        bits: 8 or 4: text encoder and network are quantised by bitsandbytes as they are read.
        device: where it runs.
        image: whether pictures are wanted, so that frames are decoded alone.

    Raises:
        SpecError, RunError: it cannot be opened; the line says why.
    """
    check_index(folder)
    diffusers, dtype = _quietly("diffusers"), PRECISIONS[precision]
    _quietly("transformers")
    given: dict[str, Any] = {"dtype": dtype, "use_safetensors": True, "local_files_only": True}
    try:
        if temporal := (folder / TEMPORAL_DECODER).is_dir() and not image:
            given["vae"] = diffusers.AutoencoderKLTemporalDecoder.from_pretrained(
                folder, subfolder=TEMPORAL_DECODER, **given
            )
        if bits:
            given["quantization_config"] = _quantised(bits, dtype)
        pipeline = diffusers.LattePipeline.from_pretrained(folder, **given).to(device)
        if scheduler:
            settings = _settings(pipeline, scheduler)
            pipeline.scheduler = getattr(diffusers, scheduler).from_config(settings)
    except (RunError, SpecError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # files of others make its readers raise nearly anything
        raise RunError(f"--model: {folder}: the pipeline cannot be opened: {_first_line(error)}") from error
    pipeline.set_progress_bar_config(disable=True)
    together = temporal or type(pipeline.vae).__name__ == "AutoencoderKLTemporalDecoder"
    about = {"class": type(pipeline.scheduler).__name__, "settings": _plain(dict(pipeline.scheduler.config))}
    return Opened(pipeline, folder, "temporal" if together else "frames", about)


def _quietly(package: str) -> Any:
    """Import one of the packages, whose own bars and warnings would stand between the progress of the verb."""
    logging = importlib.import_module(f"{package}.utils.logging")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    return importlib.import_module(package)


def _settings(pipeline: Any, scheduler: str) -> dict[str, Any]:
    """The folder's noise levels for another scheduler; what the network says of the variance only ddpm can use.

    Latents are not clipped: the folder's scheduler may not have the switch, and diffusers' default would be to clip.
    """
    settings = {key: value for key, value in pipeline.scheduler.config.items() if key != "variance_type"}
    settings["clip_sample"] = False
    config = pipeline.transformer.config
    if scheduler == "DDPMScheduler":
        learned = config.out_channels == 2 * config.in_channels
        settings["variance_type"] = "learned_range" if learned else "fixed_small"
    return settings


def _quantised(bits: int, dtype: torch.dtype) -> Any:
    from diffusers.quantizers import PipelineQuantizationConfig

    kwargs: dict[str, Any] = {"load_in_8bit": True}
    if bits == 4:
        kwargs = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": dtype}
    return PipelineQuantizationConfig(
        quant_backend=f"bitsandbytes_{bits}bit",
        quant_kwargs=kwargs,
        components_to_quantize=["transformer", "text_encoder"],
    )


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _plain(value: Any) -> Any:
    """Settings as JSON has them."""
    return json.loads(json.dumps(value, default=str))
