"""The spec: the complete, validated description of one arm.

Frozen, strict pydantic models; unknown keys are refused. `model`, `data`, `diffusion`, `learning`, `sampling` and
`scoring` are the science half and make up the identity; `runtime` is the efficiency half and stays out of it.
"""

import hashlib
import json
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import Field

from registry.schema.parameter_types import Fraction, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from registry.schema.protocol import Protocol
from registry.schema.section import Part, Section, Slot

SCHEMA_VERSION = 3
SCIENCE = ("model", "data", "diffusion", "learning", "sampling", "scoring")
WITHOUT_EFFECT = ("data.path", "model.size", "scoring.protocol")  # keys of the science half that name what others say
IDENTITY_LENGTH = 10  # hex digits of the identity in folder names and tables


def _default(name: str) -> Any:
    return Field(default=Part(name=name))


class ModelSpec(Section):
    """The network. Give `size`, or all of `width`, `heads` and `depth`."""

    size: Literal["S", "B", "L", "XL"] | None = None
    width: PositiveInt | None = None
    heads: PositiveInt | None = None
    depth: PositiveInt | None = None  # with `size`: overrides the paper's depth for the block variant
    patch: PositiveInt = 2
    classes: NonNegativeInt = 0  # 0: unconditional
    patch_embedding: Annotated[Part, Slot("patch_embedding")] = _default("uniform_frame")
    blocks: Annotated[Part, Slot("blocks")] = _default("variant_1")
    conditioning: Annotated[Part, Slot("conditioning")] = _default("s_adaln")
    temporal_position: Annotated[Part, Slot("temporal_position")] = _default("absolute")


class DataSpec(Section):
    """The videos, how clips are cut from them, and the latents that the network sees."""

    dataset: Annotated[Part, Slot("dataset")] = _default("moving_shapes")
    path: str | None = None  # where the files lie; not part of the identity
    resolution: PositiveInt = 256
    frames: PositiveInt = 16
    interval: PositiveInt = 3
    picking: Literal["stride", "linspace"] = "stride"
    # Frames that a video must have to be trained on and validated with, where that is more than a clip needs. Where the
    # clips of some arm are longer, the experiment sets it for the others, so that all its arms see the same videos.
    shortest_video: PositiveInt | None = None
    transform: Literal["short_side_then_center_crop", "center_square_then_resize"] = "short_side_then_center_crop"
    antialias: bool = True
    flip: Fraction = 0.0  # probability that a training clip is mirrored; the dataset says what becomes of its label
    autoencoder: Annotated[Part, Slot("autoencoder")] = _default("sd_vae")

    @property
    def clip_frames(self) -> int:
        """Frames of a video from the first to the last of a clip: (frames - 1) * interval + 1."""
        return (self.frames - 1) * self.interval + 1

    @property
    def least_frames(self) -> int:
        """Frames that a video must have to be trained on and validated with."""
        return max(self.clip_frames, self.shortest_video or 0)


class DiffusionSpec(Section):
    """What the network predicts and how noise grows. A schedule left out is the objective's own."""

    objective: Annotated[Part, Slot("objective")] = _default("epsilon_learned_sigma")
    noise_schedule: Annotated[Part | None, Slot("noise_schedule")] = None


class LearningSpec(Section):
    """The optimisation. Defaults are the official code's (golden README, 10.1)."""

    initialisation: Annotated[Part, Slot("initialisation")] = _default("scratch")
    steps: PositiveInt = 150_000
    batch_size: PositiveInt = 40  # clips of one optimiser step, all micro-batches together
    learning_rate: PositiveFloat = 1e-4
    lr_schedule: Annotated[Part, Slot("lr_schedule")] = _default("constant")
    beta1: Fraction = 0.9
    beta2: Fraction = 0.999
    weight_decay: NonNegativeFloat = 0.0
    clip_norm: PositiveFloat | None = 0.1
    clip_from: NonNegativeInt = 20_000  # first step whose gradients are clipped
    ema_decay: Fraction = 0.9999
    label_drop: Fraction | None = None  # left out: 0.1 with classes, else 0


class SamplingSpec(Section):
    """How scored clips are drawn. A sampler left out is the first that suits the objective."""

    sampler: Annotated[Part | None, Slot("sampler")] = None
    guidance: PositiveFloat = 1.0  # classifier-free guidance scale; 1 is off
    clips: PositiveInt = 2048
    weights: Literal["ema", "model"] = "ema"
    seed: NonNegativeInt = 0


class RuntimeSpec(Section):
    """The efficiency half: switches that may change speed and memory but not the result beyond a stated tolerance."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["fp32", "bf16"] = "fp32"
    tf32: bool = True  # on a GPU, factors of fp32 products have 10 bits of mantissa in training and sampling: faster
    compile: bool = False
    accumulation: PositiveInt = 1  # micro-batches of one optimiser step: less memory, the same gradient up to rounding
    shard: bool = False  # with several processes: each holds a share of weights, average and optimiser state (FSDP2)
    threads: PositiveInt | None = None  # of one replicate; left out: the cores shared out over parallel replicates
    log_every: PositiveInt = 50
    validate_every: PositiveInt = 1000
    checkpoint_every: PositiveInt = 10_000
    keep_checkpoints: PositiveInt = 1
    attempts: PositiveInt = 5  # in a row that come no further than the one before, and the replicate has failed
    sampling_batch: PositiveInt = 16


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

    def science(self) -> dict[str, Any]:
        """The science half as plain values, without what does not change results: paths, and the names of presets."""
        science = self.model_dump(mode="json", include=set(SCIENCE))
        for key in WITHOUT_EFFECT:
            section, name = key.split(".")
            del science[section][name]
        return science

    @property
    def identity(self) -> str:
        """Hash of the resolved science half and the schema version: equal for equal science, however it was written."""
        text = json.dumps({"schema": SCHEMA_VERSION, **self.science()}, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:IDENTITY_LENGTH]


def default_part(*key: str) -> str | None:
    """The name of the part that stands at (section, field) where none is written, or None."""
    if len(key) != 2 or key not in slot_fields():
        return None
    section = Spec.model_fields[key[0]].annotation
    assert isinstance(section, type)
    assert issubclass(section, Section)
    default = section.model_fields[key[1]].default
    return default.name if isinstance(default, Part) else None


@cache
def slot_fields() -> dict[tuple[str, str], str]:
    """(section, field) -> slot, for every field of the spec that names a part."""
    found = {}
    for section, info in Spec.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, Section):
            for name, field in info.annotation.model_fields.items():
                for mark in field.metadata:
                    if isinstance(mark, Slot):
                        found[(section, name)] = mark.name
    return found
