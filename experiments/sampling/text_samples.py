"""Videos, or pictures, of a prompt: drawn one after the other, each written as soon as it is done.

Every video has a seed of its own: it is the same whatever the number of them, and an interrupted command goes on.
"""

import importlib.metadata
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from components.data.video.writer import write_mp4
from components.weights import sha256_of
from experiments.sampling.text_pipeline import Opened, check_packages, folder_of, open_pipeline, scheduler_class
from registry.errors import RunError, SpecError
from registry.parts.catalogue import catalogue
from registry.runs.files import atomic, locked, write_atomically

FPS = 8  # of the published model's videos
RECORD = "text_samples.json"
MOST_TOKENS = 120  # of a prompt that the pipeline reads
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class TextRequest:
    """What is asked for.

    Args:
        prompt: what is to be seen.
        model: a folder, or a name of the Hub.
        image: one frame without temporal attention, written as a picture.
        frames: of a video; None: as many as the network was trained with.
        resolution: side in pixels; None: that of the training.
        steps: of the scheduler.
        guidance: scale of classifier-free guidance; 1 is off.
        seed: of the first video; the next have the next ones.
        num: videos.
        scheduler: a sampler of ours by name; None: the folder's own.
        negative: what guidance leads away from.
        precision: fp32, bf16 or fp16.
        bits: 8 or 4 for quantised weights.
        device: auto, cpu or cuda.
    """

    prompt: str
    model: str
    image: bool = False
    frames: int | None = None
    resolution: int | None = None
    steps: int = 50
    guidance: float = 7.5
    seed: int = 0
    num: int = 1
    scheduler: str | None = None
    negative: str = ""
    precision: str = "fp32"
    bits: int | None = None
    device: str = "auto"


def sample_text(request: TextRequest, out: Path, device: torch.device, progress: Progress) -> dict[str, Any]:
    """Draw what is asked for into the folder `out`, and return what was written there as `text_samples.json`.

    Raises:
        SpecError: something cannot be asked of this model, or has no effect; or the folder holds other samples.
        RunError: a package, the model or the disk is missing something.
    """
    scheduler = scheduler_class(request.scheduler, catalogue()) if request.scheduler else None
    if request.negative and request.guidance <= 1:
        raise SpecError(
            f"--negative: has no effect with --guidance {request.guidance:g}; raise --guidance, or leave --negative out"
        )
    check_packages(request.bits, device)
    asked = {key: value for key, value in asdict(request).items() if key not in ("num", "device")}
    folder = folder_of(request.model)
    if len([number for number in _done_before(out, asked) if number < request.num]) == request.num:
        return dict(json.loads((out / RECORD).read_text(encoding="utf-8")))
    opened = open_pipeline(folder, scheduler, request.precision, request.bits, device, image=request.image)
    frames, side = _size(request, opened)
    text = _encoded(opened.pipeline, request, device)
    record: dict[str, Any] = {"asked": asked, "how": _how(opened, device, frames, side)}
    with locked(out, lambda: progress("waiting for another process that samples into this folder", 0, 1)):
        samples = _done_before(out, asked)  # what it has drawn meanwhile stays
        record["samples"] = [samples[known] for known in sorted(samples)]
        missing = [number for number in range(request.num) if number not in samples]
        for place, number in enumerate(missing):

            def on_step(pipeline: Any, step: int, t: Any, kept: dict[str, Any], done: int = place) -> dict[str, Any]:
                progress("sampling steps", done * request.steps + step + 1, len(missing) * request.steps)
                return kept

            generator = torch.Generator().manual_seed(request.seed + number)
            pictures = _drawn(opened.pipeline, request, text, frames, side, generator, on_step)
            file = out / f"{number:06d}.{'png' if request.image else 'mp4'}"
            _write(file, pictures, request.image)
            digest = sha256_of(file)
            samples[number] = {"number": number, "file": file.name, "seed": request.seed + number, "sha256": digest}
            record["samples"] = [samples[known] for known in sorted(samples)]
            write_atomically(out / RECORD, json.dumps(record, indent=1) + "\n")
    return record


def _done_before(out: Path, asked: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """Samples of the same request in that folder, by number, whose files are as they were written.

    Raises:
        SpecError: the folder holds samples of another request.
    """
    try:
        record = json.loads((out / RECORD).read_text(encoding="utf-8"))
        before, samples = record["asked"], {sample["number"]: sample for sample in record["samples"]}
        named = {number: (out / sample["file"], str(sample["sha256"])) for number, sample in samples.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError):
        raise SpecError(f"--out: {out / RECORD} cannot be read; give another folder") from None
    if differing := [key for key in asked if before.get(key) != asked[key]]:
        key = differing[0]
        raise SpecError(
            f"--out: {out} holds samples of another request ({key}: {before.get(key)!r}, now {asked[key]!r}); "
            "give another folder"
        )
    return {number: sample for number, sample in samples.items() if _whole(*named[number])}


def _whole(file: Path, digest: str) -> bool:
    return file.is_file() and sha256_of(file) == digest


def _size(request: TextRequest, opened: Opened) -> tuple[int, int]:
    """Frames and side, where the model can make them.

    Raises:
        SpecError: it cannot; the reason is told.
    """
    if request.image and request.frames not in (None, 1):
        raise SpecError(f"--frames: a picture has one frame, not {request.frames}; leave --image or --frames out")
    frames = 1 if request.image else request.frames or opened.frames
    if frames not in (1, opened.frames):
        raise SpecError(
            f"--frames: this network's temporal positions are a table of {opened.frames} frames: {opened.frames}, or 1"
        )
    side = request.resolution or opened.side
    if side % opened.multiple:
        near = max(side // opened.multiple, 1) * opened.multiple
        raise SpecError(f"--resolution: a side must be a multiple of {opened.multiple} pixels, such as {near}")
    return frames, side


@torch.no_grad()
def _encoded(pipeline: Any, request: TextRequest, device: torch.device) -> dict[str, Any]:
    """Embeddings of the prompt and of the negative one, once for all videos; the text encoder is let go of then.

    Raises:
        SpecError: the prompt is longer than what the model reads, or the negative one than the prompt.
    """
    tokens, others = (
        len(pipeline.tokenizer(text.lower().strip()).input_ids) for text in (request.prompt, request.negative)
    )
    if tokens > MOST_TOKENS:
        raise SpecError(f"PROMPT: has {tokens} tokens, of which the model would read {MOST_TOKENS}; shorten it")
    if request.negative and others > tokens:  # the pipeline cuts it to the prompt's length
        raise SpecError(
            f"--negative: has {others} tokens, of which the model would read {tokens}, as many as the prompt has; "
            "shorten it, or lengthen the prompt"
        )
    text, negative = pipeline.encode_prompt(
        request.prompt,
        do_classifier_free_guidance=request.guidance > 1,
        negative_prompt=request.negative,
        device=device,
        clean_caption=False,
    )
    pipeline.text_encoder = pipeline.tokenizer = None
    dtype = pipeline.transformer.dtype
    negative = None if negative is None else negative.to(dtype)
    return {"prompt_embeds": text.to(dtype), "negative_prompt_embeds": negative}


def _drawn(
    pipeline: Any,
    request: TextRequest,
    text: dict[str, Any],
    frames: int,
    side: int,
    generator: torch.Generator,
    on_step: Callable[..., dict[str, Any]],
) -> np.ndarray:
    """One video: uint8 (F, H, W, 3)."""
    video = pipeline(
        **text,
        negative_prompt=None,
        num_inference_steps=request.steps,
        guidance_scale=request.guidance,
        video_length=frames,
        height=side,
        width=side,
        generator=generator,
        enable_temporal_attentions=not request.image,
        mask_feature=False,  # the prompt's padding was cut away when it was encoded
        output_type="pt",
        callback_on_step_end=on_step,
        callback_on_step_end_tensor_inputs=[],
    ).frames[0]
    if not torch.isfinite(video).all():
        raise RunError(f"the video has numbers that are none in {request.precision}; try --precision bf16 or fp32")
    return np.asarray((video.float().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy())


def _write(file: Path, pictures: np.ndarray, image: bool) -> None:
    if not image:
        return write_mp4(file, _frames(pictures), FPS)
    from PIL import Image

    with atomic(file) as opened:
        Image.fromarray(pictures[0]).save(opened, format="PNG")


def _frames(pictures: np.ndarray) -> Iterator[np.ndarray]:
    yield from pictures


def _how(opened: Opened, device: torch.device, frames: int, side: int) -> dict[str, Any]:
    """What the samples were made by and with."""
    pipeline = opened.pipeline
    packages = ("diffusers", "transformers", "torch")
    return {
        "folder": str(opened.folder),
        "components": {
            name: type(getattr(pipeline, name)).__name__ for name in ("transformer", "vae") if hasattr(pipeline, name)
        },
        "transformer": {key: value for key, value in pipeline.transformer.config.items() if not key.startswith("_")},
        "decoder": opened.decoder,
        "scheduler": opened.scheduler,
        "frames": frames,
        "resolution": side,
        "fps": FPS,
        "device": str(device),
        "versions": {name: importlib.metadata.version(name) for name in packages},
    }
