"""Combinations that make no sense, refused in this one place, by name, with the reason.

What concerns one part is that part's own rule (`registry.parts.rules`) and is only judged here; no part is named. Rules
that need shapes of real networks (a patch that does not divide the latent, say) are raised by the parts
themselves when the model is assembled; `check` assembles every arm.
"""

from collections.abc import Callable, Iterable, Iterator

from registry.experiment.requirements import broken_rules
from registry.parts.catalogue import Catalogue
from registry.schema.protocol import Protocol
from registry.schema.spec import Spec, sections
from registry.schema.values import overlap
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
        if not any_below(unknown, reads):
            yield from rule(spec, parts)
    yield from broken_rules({name: getattr(spec, name) for name in sections()}, parts, unknown)


def any_below(unknown: Iterable[Key], keys: Iterable[str]) -> bool:
    """Whether one of the dotted keys is among, above or below the unknown ones."""
    return any(overlap(key, tuple(other.split("."))) for key in unknown for other in keys)


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
    yield from _too_short(scoring, parts)


def _too_short(scoring: Protocol, parts: Catalogue) -> Iterator[Problem]:
    """Say that clips have fewer frames than the detector asks for, and what measures such clips."""
    refused = [one.name for one in scoring.metrics if parts.find("metric", one.name).fact("by_detector")]
    for detector in scoring.detectors if refused and scoring.frames else ():
        least = parts.find("detector", detector.name).fact("minimum_frames")
        if (scoring.frames or 0) < least:
            others = [name for name in parts.names("metric") if not parts.find("metric", name).fact("by_detector")]
            yield (
                "scoring.metrics",
                f"{', '.join(refused)}: {detector.name} needs clips of at least {least} frames, not {scoring.frames}; "
                f"{', '.join(others)} see single frames, and [] scores nothing but the validation loss",
            )


def protocol_problems(protocol: Protocol) -> Iterator[Problem]:
    """What is wrong with a protocol whose values are each valid on their own."""
    for side in ("real", "fake"):
        if "h264" in getattr(protocol, f"{side}_storage")[1:]:
            yield f"{side}_storage", "h264 comes first and once: videos are saved before they become pictures"
    if protocol.kernel == "lanczos" and protocol.antialias is False:
        yield "antialias", "the lanczos kernel is Pillow's, which always antialiases; set antialias to true"
    if protocol.detector.name in {opinion.name for opinion in protocol.second_opinions or ()}:
        yield "second_opinions", f"{protocol.detector.name} is the detector already; name others"
    if protocol.frames and protocol.resolution:
        yield from _pixels("resolution", protocol.frames, protocol.resolution)


def _pixels(key: str, frames: int, side: int) -> Iterator[Problem]:
    if frames * side**2 > MAX_PIXELS:
        clip = f"{frames} frames of {side} x {side}"
        yield key, f"a clip of {clip} has more than {MAX_PIXELS:,} pixels, which no machine holds several of"


def _model(spec: Spec, parts: Catalogue) -> Iterator[Problem]:
    model = spec.model
    assert model.width, "resolved"
    assert model.heads, "resolved"
    assert model.depth, "resolved"
    if model.width % model.heads:
        yield "model.heads", f"{model.heads} heads do not divide the width {model.width}"
    if model.width % 4:
        yield "model.width", f"the 2-D position table needs a width divisible by 4, got {model.width}"


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
    if not spec.conditional and learning.label_drop:
        yield "learning.label_drop", "an unconditional model (model.classes: 0) has no labels to drop"
    if spec.step > learning.steps:
        yield (
            "sampling.step",
            f"step {spec.step} is behind the last step of the training (learning.steps {learning.steps})",
        )
    if spec.sampling.guidance != 1.0:
        if not spec.conditional:
            yield "sampling.guidance", "guidance needs a class-conditional model; model.classes is 0"
        elif learning.label_drop == 0:
            null = "null label" if spec.model.classes else "prediction without a caption"
            yield "sampling.guidance", f"guidance needs a {null}, learned only with learning.label_drop > 0"


# Each rule, and the keys that it reads.
RULES: dict[Callable[[Spec, Catalogue], Iterator[Problem]], tuple[str, ...]] = {
    _model: ("model.size", "model.width", "model.heads", "model.depth"),
    _diffusion: ("diffusion", "sampling.sampler"),
    _learning: (
        *("learning", "runtime.accumulation", "model.classes", "data.text_encoder"),
        *("sampling.step", "sampling.guidance"),
    ),
    _scoring: ("scoring", "data"),
}
