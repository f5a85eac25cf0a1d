"""The protocol: everything that a score depends on besides the samples, as one frozen spec with presets.

An experiment's `scoring` section is a protocol; `score` takes one by name. What a preset leaves open (`None`) follows
from the training data in an experiment (`registry.experiment.resolve`), and from `FOLDERS` where two folders are
compared.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import field_validator

from registry.schema.parameter_types import Count, Crf, Frames, JpegQuality, NonNegativeInt, Side
from registry.schema.section import Part, Section, Slot

FINGERPRINT_LENGTH = 10  # hex digits
# Counted up whenever the code measures other numbers for the same protocol, so that old scores are not set beside new.
MEASURING = 1

Storage = Literal["png", "jpeg", "h264"]
Start = Literal["uniform", "first"]
Short = Literal["drop", "refuse"]
DETECTOR = "moving_shapes_r3d"


class Protocol(Section):
    """How sampled (fake) videos are held against real ones.

    Counts are of clips. A video is *short* where it has no clip: fewer than (frames - 1) * interval + 1 frames, or with
    `whole_intervals` fewer than frames * interval. H.264 comes before the resize, storage as pictures behind it.
    """

    protocol: Literal["clean", "latte_compatible", "demo"] = "clean"
    """The preset that gives every key that is left out."""
    split: Literal["train", "test", "all"] = "train"
    """Of the real videos."""
    frames: Frames | None = None
    """Of a clip; left open: data.frames."""
    picking: Literal["stride", "linspace"] | None = None
    """As data.picking, which it is if left open."""
    clips_per_video: Count = 1
    """Starts drawn from each video, all different; clips may overlap."""
    shortest: Literal["fits", "whole_intervals"] = "fits"
    """Which videos are long enough: those that a clip fits into, or those of `frames` whole intervals."""
    seed: NonNegativeInt = 0
    """Of the draw of videos and starts."""
    real_clips: Count = 2048
    """Real clips, at most."""
    fake_clips: Count | None = None
    """Sampled clips, at most; left open: sampling.clips."""
    real_interval: Count | None = None
    """Frames from one frame of a real clip to the next; left open: data.interval."""
    fake_interval: Count = 1
    """Frames from one frame of a sampled clip to the next."""
    real_start: Start = "uniform"
    """Where a real clip starts: drawn uniformly, or at the first frame."""
    fake_start: Start = "uniform"
    """Where a sampled clip starts."""
    real_short: Short = "drop"
    """What becomes of real videos that have no clip."""
    fake_short: Short = "drop"
    """What becomes of sampled videos that have no clip."""
    resolution: Side | None = None
    """Side of the frames that are measured; left open: data.resolution, or the one size that all clips have."""
    transform: Literal["short_side_then_center_crop", "center_square_then_resize"] | None = None
    """How a frame becomes a square; left open: data.transform."""
    kernel: Literal["bilinear", "bicubic", "lanczos"] | None = None
    """Of the resize; left open: bilinear."""
    antialias: bool | None = None
    """Whether the resize smooths first; left open: data.antialias."""
    real_storage: tuple[Storage, ...] = ()
    """Round trips through files that real clips make, in order."""
    fake_storage: tuple[Storage, ...] = ()
    """Round trips through files that sampled clips make, in order."""
    jpeg_quality: JpegQuality = 75
    """Of storage as jpeg."""
    jpeg_subsampling: Literal["4:4:4", "4:2:2", "4:2:0"] = "4:2:0"
    """Of storage as jpeg."""
    h264_crf: Crf = 5
    """Constant rate factor of storage as h264: 0 is lossless, 51 the worst."""
    detector: Annotated[Part, Slot("detector")] = Part(name=DETECTOR)
    """The network whose features are compared."""
    second_opinions: Annotated[tuple[Part, ...] | None, Slot("detector")] = None
    """Further detectors: what the detector measures, each of these measures as well."""
    metrics: Annotated[tuple[Part, ...], Slot("metric")] = (Part(name="fvd"),)
    """What is measured; a preset has its own. An empty list in an experiment: nothing beside the validation loss."""

    @field_validator("second_opinions")
    @classmethod
    def _none_are_none(cls, value: tuple[Part, ...] | None) -> tuple[Part, ...] | None:
        """An empty list is what is not said."""
        return value or None

    @property
    def detectors(self) -> tuple[Part, ...]:
        """Every detector that measures, the one without a second opinion first."""
        return (self.detector, *(self.second_opinions or ()))


# One column a preset. `clean`: even handling, nothing lossy. `latte_compatible`: what the official tools do, accidents
# included (golden README, 9): real stride 3 beside generated stride 1, frames through JPEG 75 because the script's
# `q=95` is no Pillow keyword, generated mp4 from imageio's quality 9 (crf 5), real videos of fewer than 48 frames
# dropped and generated ones of fewer than 16 refused, the training split. Taichi-HD: real_interval 6. `demo`: small
# counts, several clips a video, for runs of minutes; says which way a number moves and no more.
_TABLE: dict[str, tuple[Any, Any, Any]] = {
    #                   clean       latte_compatible             demo
    "split":            ("train",   "train",                     "train"),
    "frames":           (None,      16,                          None),
    "picking":          (None,      "stride",                    None),
    "clips_per_video":  (1,         1,                           4),
    "shortest":         ("fits",    "whole_intervals",           "fits"),
    "real_clips":       (2048,      2048,                        256),
    "real_interval":    (None,      3,                           None),
    "fake_interval":    (1,         1,                           1),
    "real_start":       ("uniform", "uniform",                   "uniform"),
    "fake_start":       ("uniform", "first",                     "uniform"),
    "real_short":       ("drop",    "drop",                      "drop"),
    "fake_short":       ("drop",    "refuse",                    "drop"),
    "resolution":       (None,      256,                         None),
    "transform":        (None,      "center_square_then_resize", None),
    "kernel":           (None,      "lanczos",                   None),
    "antialias":        (None,      True,                        None),
    "real_storage":     ((),        ("jpeg",),                   ()),
    "fake_storage":     ((),        ("h264", "jpeg"),            ()),
    "detector":         (DETECTOR,  "i3d",                       DETECTOR),
    "metrics":          (("fvd", "kvd"), ("fvd",),               ("fvd", "kvd")),
}  # fmt: skip
PRESETS: dict[str, dict[str, Any]] = {
    name: {key: values[column] for key, values in _TABLE.items() if values[column] is not None}
    for column, name in enumerate(("clean", "latte_compatible", "demo"))
}
# What is left open, where two folders are compared and no training says it.
FOLDERS: dict[str, Any] = {
    "frames": 16,
    "picking": "stride",
    "fake_clips": 2048,
    "real_interval": 1,
    "transform": "center_square_then_resize",
    "kernel": "lanczos",
    "antialias": True,
}


def with_preset(written: Mapping[str, Any]) -> dict[str, Any]:
    """The written keys of a protocol over those of the preset that they name; over `clean` where there is none such."""
    name = written.get("protocol")
    preset = PRESETS.get(name) if isinstance(name, str) else None
    return {**(preset or PRESETS["clean"]), **written}


def describe(protocol: Protocol) -> dict[str, Any]:
    """The protocol as nested plain values, as `protocol show` and `diff` print it; open keys are None.

    The bound protocol of a score has the same keys, and beside them what only the data and the weights tell.
    """
    steps = {*protocol.real_storage, *protocol.fake_storage}
    return {
        "measuring": MEASURING,
        "real": {"clips": protocol.real_clips, **_side(protocol, "real")},
        "fake": {"clips": protocol.fake_clips, **_side(protocol, "fake")},
        "clips": {key: getattr(protocol, key) for key in ("frames", "picking", "clips_per_video", "shortest", "seed")},
        "pixels": {key: getattr(protocol, key) for key in ("resolution", "transform", "kernel", "antialias")},
        "storage": {
            **({"jpeg": f"quality {protocol.jpeg_quality}, {protocol.jpeg_subsampling}"} if "jpeg" in steps else {}),
            **({"h264": f"crf {protocol.h264_crf}, 4:2:0"} if "h264" in steps else {}),
        },
        "noted": {"preset": protocol.protocol, "split": protocol.split},
    }


def _side(protocol: Protocol, side: str) -> dict[str, Any]:
    keys = {"interval": "interval", "start": "start", "short_videos": "short", "storage": "storage"}
    values = {name: getattr(protocol, f"{side}_{field}") for name, field in keys.items()}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def fingerprint(bound: Mapping[str, Any]) -> str:
    """Ten hex digits that two scores share only if they may be compared; what is only `noted` is left out."""
    counted = {key: value for key, value in bound.items() if key != "noted"}
    return hashlib.sha256(json.dumps(counted, sort_keys=True).encode()).hexdigest()[:FINGERPRINT_LENGTH]
