"""The spec: the complete, validated description of one arm.

Frozen, strict pydantic models; unknown keys are refused. `model`, `data`, `diffusion` and `learning` are what is
trained, `sampling` and `scoring` how the training is evaluated: together the science half, which makes up the identity.
`runtime` is the efficiency half and stays out of it. Parts are named here as defaults, and in the presets of
`registry.schema.protocol`; nowhere else below `registry/`.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import cache, cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from registry.schema.parameter_types import (
    Count,
    Fraction,
    Frames,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Side,
    Tally,
)
from registry.schema.protocol import Protocol
from registry.schema.section import Part, Section, Slot

SCHEMA_VERSION = 4
TRAINING = ("model", "data", "diffusion", "learning")  # sections: what is learned, once for all arms that share it
EVALUATION = ("sampling", "scoring")  # sections: one way to sample a training and to score the samples
SCIENCE = (*TRAINING, *EVALUATION)
ONLY_IF_SAID = ("data.text_encoder", "scoring.second_opinions")  # no part of the science half where they are null
WITHOUT_EFFECT = ("data.path", "model.size", "scoring.protocol")  # keys of the science half that name what others say
KeepSamples = Literal["auto", "all", "shown", "none"]
IDENTITY_LENGTH = 10  # hex digits of the identity in folder names and tables

# Bounds far beyond any use: what is assembled for a look at it is bounded before (see `parameter_types`).
Width = Annotated[int, Field(gt=0, le=65_536)]
Depth = Annotated[int, Field(gt=0, le=512)]
Threads = Annotated[int, Field(gt=0, le=4096)]
Stills = Annotated[int, Field(ge=0, le=8192)]


def _default(name: str) -> Any:
    return Field(default=Part(name=name))


class ModelSpec(Section):
    """The network. Give `size`, or all of `width`, `heads` and `depth`."""

    size: Literal["S", "B", "L", "XL"] | None = None
    """A size of the paper (table 1), which says width, heads and depth."""
    width: Width | None = None
    """Channels of a token, divisible by 4 and by the heads."""
    heads: Width | None = None
    """Heads of each attention."""
    depth: Depth | None = None
    """Blocks; with `size` in place of the paper's depth for the block variant."""
    patch: Side = 2
    """Side of a patch, in positions of the latent."""
    classes: Tally = 0
    """Classes that condition the network; 0 is unconditional."""
    patch_embedding: Annotated[Part, Slot("patch_embedding")] = _default("uniform_frame")
    """How latents become tokens."""
    blocks: Annotated[Part, Slot("blocks")] = _default("variant_1")
    """How attention over space and over time are arranged."""
    conditioning: Annotated[Part, Slot("conditioning")] = _default("s_adaln")
    """How timestep and class reach the tokens."""
    temporal_position: Annotated[Part, Slot("temporal_position")] = _default("absolute")
    """How a token knows its frame."""
    spatial_position: Annotated[Part, Slot("spatial_position")] = _default("absolute")
    """How a token knows its place in the frame."""
    qk_norm: Annotated[Part, Slot("qk_norm")] = _default("none")
    """How queries and keys are normed before they meet."""


class DataSpec(Section):
    """The videos, how clips are cut from them, and the latents that the network sees."""

    dataset: Annotated[Part, Slot("dataset")] = _default("moving_shapes")
    """What videos there are, and their classes and splits."""
    path: str | None = None
    """Where the files lie; not part of the identity."""
    resolution: Side = 256
    """Side of a frame, in pixels."""
    frames: Frames = 16
    """Frames of a clip."""
    interval: Count = 3
    """Frames of the video from one frame of a clip to the next."""
    picking: Literal["stride", "linspace"] = "stride"
    """stride: every `interval`-th frame; linspace: evenly over `frames * interval` frames, as the reference does."""
    shortest_video: PositiveInt | None = None
    """Frames that a video must have to be trained on and validated with, beyond those of a clip; where the clips of
    some arm are longer, an experiment sets it for the others, so that all arms of it see the same videos."""
    transform: Literal["short_side_then_center_crop", "center_square_then_resize"] = "short_side_then_center_crop"
    """How a frame becomes a square."""
    antialias: bool = True
    """Whether frames are smoothed before they are made smaller."""
    flip: Fraction = 0.0
    """Probability that a training clip is mirrored; the dataset says what becomes of its label."""
    autoencoder: Annotated[Part, Slot("autoencoder")] = _default("sd_vae")
    """What turns frames into latents and back."""
    text_encoder: Annotated[Part | None, Slot("text_encoder")] = None
    """What turns captions into embeddings, for a conditioning that reads them; left out: there are no captions."""

    @property
    def clip_frames(self) -> int:
        """Frames of a video from the first to the last of a clip: (frames - 1) * interval + 1."""
        return (self.frames - 1) * self.interval + 1

    @property
    def least_frames(self) -> int:
        """Frames that a video must have to be trained on and validated with."""
        return max(self.clip_frames, self.shortest_video or 0)


class DiffusionSpec(Section):
    """What the network predicts and how noise grows."""

    objective: Annotated[Part, Slot("objective")] = _default("epsilon_learned_sigma")
    """What the network predicts, and its loss."""
    noise_schedule: Annotated[Part | None, Slot("noise_schedule")] = None
    """How much noise each timestep has; left out: the objective's own."""
    loss_weighting: Annotated[Part, Slot("loss_weighting")] = _default("uniform")
    """How much each timestep counts in the training loss; the validation loss is never weighted."""
    timestep_sampling: Annotated[Part, Slot("timestep_sampling")] = _default("uniform")
    """Which times are trained on how often; those of the validation loss are fixed."""


class LearningSpec(Section):
    """The optimisation. Defaults are the official code's (golden README, 10.1)."""

    initialisation: Annotated[Part, Slot("initialisation")] = _default("scratch")
    """Where the weights come from at step 0."""
    steps: NonNegativeInt = 150_000
    """Optimiser steps; 0: the initial weights are evaluated as they are."""
    batch_size: Count = 40
    """Clips of one optimiser step, all micro-batches and processes together."""
    joint_images: Stills = 0
    """Stills of other videos that are trained behind each clip, image and video jointly."""
    optimiser: Annotated[Part, Slot("optimiser")] = _default("adamw")
    """What makes a step of the gradients."""
    learning_rate: PositiveFloat = 1e-4
    """The learning rate, before the schedule."""
    lr_schedule: Annotated[Part, Slot("lr_schedule")] = _default("constant")
    """How the learning rate changes over the steps."""
    clip_norm: PositiveFloat | None = 0.1
    """The norm that gradients are clipped to; null: never."""
    clip_from: NonNegativeInt = 20_000
    """First step whose gradients are clipped."""
    ema_decay: Fraction = 0.9999
    """What the averaged weights keep of themselves at a step."""
    label_drop: Fraction | None = None
    """Share of clips trained without their class or caption; left out: 0.1 with either, else 0."""


class SamplingSpec(Section):
    """How scored clips are drawn."""

    sampler: Annotated[Part | None, Slot("sampler")] = None
    """How a clip is drawn from noise; left out: the first that suits the objective."""
    guidance: PositiveFloat = 1.0
    """Scale of classifier-free guidance; 1 is off."""
    clips: Count = 2048
    """Clips to sample."""
    step: NonNegativeInt | None = None
    """The step whose weights are sampled; left out: the last of the training."""
    weights: Literal["ema", "model"] = "ema"
    """Averaged weights, or those of the last step."""
    seed: NonNegativeInt = 0
    """Of the noise that clips start from."""


class RuntimeSpec(Section):
    """The efficiency half: switches that may change speed and memory but not the result beyond a stated tolerance."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where it runs; auto: a GPU if torch can use one."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of the network."""
    tf32: bool = True
    """On a GPU, factors of fp32 products have 10 bits of mantissa in training and sampling: faster."""
    compile: bool = False
    """Whether the network is compiled by torch.compile."""
    accumulation: Count = 1
    """Micro-batches of one optimiser step: less memory, the same gradient up to rounding."""
    checkpointing: bool = False
    """Whether blocks are computed again for the backward pass: less memory, a third more work, the same gradient."""
    shard: bool = False
    """With several processes: each holds a share of weights, average and optimiser state (FSDP2)."""
    threads: Threads | None = None
    """Of one replicate; left out: the cores shared out over parallel replicates, OMP_NUM_THREADS at most."""
    log_every: PositiveInt = 50
    """Steps from one line of metrics.jsonl to the next."""
    validate_every: PositiveInt = 1000
    """Steps from one validation loss to the next."""
    checkpoint_every: PositiveInt = 10_000
    """Steps from one checkpoint to the next."""
    keep_checkpoints: PositiveInt = 1
    """Newest checkpoints that are kept."""
    attempts: PositiveInt = 5
    """In a row that come no further than the one before, and the replicate has failed."""
    sampling_batch: Count = 16
    """Clips that are sampled at once."""
    keep_samples: KeepSamples = "auto"
    """Which arrays stay once they are scored; auto: all up to 1 GB, else those that are shown."""


class Spec(Section):
    """One arm, resolved: every choice named, every default written out."""

    model: ModelSpec = ModelSpec()
    data: DataSpec = DataSpec()
    diffusion: DiffusionSpec = DiffusionSpec()
    learning: LearningSpec = LearningSpec()
    sampling: SamplingSpec = SamplingSpec()
    scoring: Protocol = Protocol()
    runtime: RuntimeSpec = RuntimeSpec()
    plugins: tuple[str, ...] = ()
    """Modules with further parts."""

    def science(self, sections: tuple[str, ...] = SCIENCE) -> dict[str, Any]:
        """Return sections of the science half as plain values, without what changes no result: paths, preset names."""
        return only_with_effect(self.model_dump(mode="json", include=set(sections)))

    @property
    def conditional(self) -> bool:
        """Whether clips are of a class or of a caption, so that there is something to drop and to be guided by."""
        return bool(self.model.classes) or self.data.text_encoder is not None

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy, with what is updated; it finds out its identities anew."""
        copied = super().model_copy(update=update, deep=deep)
        for name in ("identity", "training", "evaluation"):
            copied.__dict__.pop(name, None)
        return copied

    # Hashing is the dearest thing that a plan of many replicates does, so that each spec is hashed once.
    @cached_property
    def identity(self) -> str:
        """Hash of the resolved science half and the schema version: equal for equal science, however it was written."""
        return _hash(self.science())

    @cached_property
    def training(self) -> str:
        """Identity of the training: arms that agree in it train one network a seed."""
        return _hash(self.science(TRAINING))

    @cached_property
    def evaluation(self) -> str:
        """Identity of the evaluation within its training."""
        return _hash(self.science(EVALUATION))

    @property
    def step(self) -> int:
        """The optimiser step whose weights are evaluated."""
        return self.learning.steps if self.sampling.step is None else self.sampling.step


def only_with_effect(science: dict[str, Any]) -> dict[str, Any]:
    """Return sections as plain values without what changes no result.

    That is `WITHOUT_EFFECT`, what of `ONLY_IF_SAID` is not said, the place of a file that a part reads where its
    content is known by `sha256`, and, of a part that may start from a `training`, the file and arm of the experiment
    whose training is known by its identity, and the step where it is the last.
    """
    kept = {section: dict(values) if isinstance(values, dict) else values for section, values in science.items()}
    for key in WITHOUT_EFFECT:
        section, name = key.split(".")
        if isinstance(kept.get(section), dict):
            kept[section].pop(name, None)
    for key in ONLY_IF_SAID:
        section, name = key.split(".")
        if isinstance(kept.get(section), dict) and kept[section].get(name) is None:
            kept[section].pop(name, None)
    for values in filter(lambda values: isinstance(values, dict), kept.values()):
        for name, value in values.items():
            if isinstance(value, dict):
                values[name] = {key: one for key, one in value.items() if key not in _without_effect(value)}
    return kept


def _without_effect(part: dict[str, Any]) -> set[str]:
    """The parameters of a part that change no result, because others say what they lead to."""
    starts = "training" in part  # it may start from another training
    known = part.get("sha256") or part.get("training")
    without = {"path"} if part.get("sha256") or (starts and known) else set()
    without |= {"experiment", "arm"} if starts and known else set()
    return without | ({"step"} if starts and part.get("step") is None else set())


def _hash(science: dict[str, Any]) -> str:
    text = json.dumps({"schema": SCHEMA_VERSION, **science}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:IDENTITY_LENGTH]


def default_part(*key: str) -> str | None:
    """The name of the part that stands at (section, field) where none is written, or None."""
    if len(key) != 2 or key not in slot_fields():
        return None
    default = sections()[key[0]].model_fields[key[1]].default
    return default.name if isinstance(default, Part) else None


@cache
def sections() -> dict[str, type[Section]]:
    """Return the spec's sections by name, in the order of the schema."""
    kinds = {name: info.annotation for name, info in Spec.model_fields.items()}
    return {name: kind for name, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, Section)}


@cache
def slot_fields() -> dict[tuple[str, str], str]:
    """Return (section, field) -> slot, for every field of the spec that names a part, in the order of the schema."""
    found = {}
    for section, kind in sections().items():
        for name, field in kind.model_fields.items():
            for mark in field.metadata:
                if isinstance(mark, Slot):
                    found[(section, name)] = mark.name
    return found
