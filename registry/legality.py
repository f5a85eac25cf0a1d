"""Combinations that make no sense, refused in this one place, by name, with the reason.

Rules that need shapes of real networks (a patch that does not divide the latent, say) are raised by the parts
themselves when the model is assembled; `check` assembles every arm.
"""

from collections.abc import Callable, Iterable, Iterator

from registry.catalogue import Catalogue
from registry.protocol import Protocol
from registry.spec import Spec
from registry.strict_yaml import Key

MAX_PIXELS = 2**28  # of a clip: 16 frames of 4096 x 4096
Problem = tuple[str, str]  # (dotted key, what is wrong)


def problems(spec: Spec, parts: Catalogue, unknown: Iterable[Key] = ()) -> Iterator[Problem]:
    """What is wrong with a resolved spec whose values are each valid on their own.

    Args:
        spec: the spec.
        parts: the catalogue.
        unknown: keys whose values in `spec` nobody wrote, since what was written is wrong; no rule about them is asked.
    """
    unknown = list(unknown)
    for rule, reads in RULES.items():
        if not any(overlap(key, tuple(read.split("."))) for key in unknown for read in reads):
            yield from rule(spec, parts)


def overlap(key: Key, other: Key) -> bool:
    """Whether one of two keys stands at or below the other."""
    return key[: len(other)] == other or other[: len(key)] == key


def _scoring(spec: Spec, parts: Catalogue) -> Iterator[Problem]:
    scoring, data = spec.scoring, spec.data
    yield from _pixels("data.resolution", data.frames, data.resolution)
    for key, message in protocol_problems(scoring):
        if key != "resolution" or (scoring.frames, scoring.resolution) != (data.frames, data.resolution):
            yield f"scoring.{key}", message
    assert scoring.frames, "resolved"
    needed = (scoring.frames - 1) * scoring.fake_interval + 1
    if needed > data.frames:
        yield "scoring.frames", f"a clip needs {needed} frames of a sample, which has {data.frames} (data.frames)"


def protocol_problems(protocol: Protocol) -> Iterator[Problem]:
    """What is wrong with a protocol whose values are each valid on their own."""
    for side in ("real", "fake"):
        if "h264" in getattr(protocol, f"{side}_storage")[1:]:
            yield f"{side}_storage", "h264 comes first and once: videos are saved before they become pictures"
    if protocol.kernel == "lanczos" and protocol.antialias is False:
        yield "antialias", "the lanczos kernel is Pillow's, which always antialiases; set antialias to true"
    if protocol.frames and protocol.resolution:
        yield from _pixels("resolution", protocol.frames, protocol.resolution)


def _pixels(key: str, frames: int, side: int) -> Iterator[Problem]:
    if frames * side**2 > MAX_PIXELS:
        clip = f"{frames} frames of {side} x {side}"
        yield key, f"a clip of {clip} has more than {MAX_PIXELS:,} pixels, which no machine holds several of"


def _model(spec: Spec, parts: Catalogue) -> Iterator[Problem]:
    model, blocks = spec.model, spec.model.blocks.name
    assert model.width, "resolved"
    assert model.heads, "resolved"
    assert model.depth, "resolved"
    if model.width % model.heads:
        yield "model.heads", f"{model.heads} heads do not divide the width {model.width}"
    if model.width % 4:
        yield "model.width", f"the 2-D position table needs a width divisible by 4, got {model.width}"
    facts = parts.find("blocks", blocks).facts
    if model.depth % facts.get("depth_multiple", 1):
        yield "model.depth", f"{blocks} has as many spatial as temporal blocks: depth must be even, got {model.depth}"
    branches = facts.get("branches", 1)
    if model.heads % branches:
        yield "model.heads", f"{blocks} splits the heads in {branches} branches, got {model.heads}"
    elif model.temporal_position.name == "rotary" and (model.width * branches // model.heads) % 2:
        yield "model.temporal_position", "rotary rotates pairs of channels, so a head needs an even width"
    if model.patch_embedding.name == "compression_frame":
        stride = model.patch_embedding.temporal_stride
        if spec.data.frames % stride:
            yield (
                "model.patch_embedding.temporal_stride",
                f"tubelets of {stride} frames do not divide a clip of {spec.data.frames}",
            )


def _diffusion(spec: Spec, parts: Catalogue) -> Iterator[Problem]:
    objective = spec.diffusion.objective.name
    schedule, sampler = spec.diffusion.noise_schedule, spec.sampling.sampler
    assert schedule is not None, "resolved"
    assert sampler is not None, "resolved"
    schedules = going_with(parts, "objective", objective, "noise_schedule")
    if schedule.name not in schedules:
        yield (
            "diffusion.noise_schedule",
            f"{objective} does not go with {schedule.name}: it goes with {', '.join(schedules) or 'nothing'}",
        )
    objectives = going_with(parts, "sampler", sampler.name, "objective")
    if objective not in objectives:
        yield (
            "sampling.sampler",
            f"{sampler.name} cannot sample {objective}: it samples {', '.join(objectives) or 'nothing'}",
        )


def going_with(parts: Catalogue, slot: str, name: str, other: str) -> list[str]:
    """The parts of the slot `other` that a part goes with: those that it lists, and those that list it.

    A part lists its partners in a class fact named after their slot: `objectives`, `noise_schedules`, `samplers`.
    """
    listed = parts.find(slot, name).facts.get(f"{other}s", ())
    return [p for p in parts.names(other) if p in listed or name in parts.find(other, p).facts.get(f"{slot}s", ())]


def _learning(spec: Spec, parts: Catalogue) -> Iterator[Problem]:
    learning = spec.learning
    if learning.batch_size % spec.runtime.accumulation:
        pieces = spec.runtime.accumulation
        yield "runtime.accumulation", f"{pieces} does not divide learning.batch_size {learning.batch_size}"
    if spec.model.classes == 0 and learning.label_drop:
        yield "learning.label_drop", "an unconditional model (model.classes: 0) has no labels to drop"
    if spec.sampling.guidance != 1.0:
        if spec.model.classes == 0:
            yield "sampling.guidance", "guidance needs a class-conditional model; model.classes is 0"
        elif learning.label_drop == 0:
            yield "sampling.guidance", "guidance needs a null label, learned only with learning.label_drop > 0"


# Each rule, and the keys that it reads.
RULES: dict[Callable[[Spec, Catalogue], Iterator[Problem]], tuple[str, ...]] = {
    _model: ("model", "data.frames"),
    _diffusion: ("diffusion", "sampling.sampler"),
    _learning: ("learning", "runtime.accumulation", "model.classes", "sampling.guidance"),
    _scoring: ("scoring", "data"),
}
