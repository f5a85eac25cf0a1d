"""The protocol: everything that a score depends on besides the samples, as one frozen spec with presets.

An experiment's `scoring` section is a protocol; `score` takes one by name. What a preset leaves open (`None`) follows
from the training data in an experiment (`registry.resolve`), and from `FOLDERS` where two folders are compared.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from registry.parameter_types import Count, Crf, Frames, JpegQuality, NonNegativeInt, Side
from registry.section import Part, Section, Slot

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

    protocol: Literal["clean", "latte_compatible", "demo"] = "clean"  # the preset that the rest started from
    split: Literal["train", "test", "all"] = "train"  # of the real videos
    frames: Frames | None = None  # of a clip
    picking: Literal["stride", "linspace"] | None = None
    clips_per_video: Count = 1  # starts drawn from each video, all different; clips may overlap
    shortest: Literal["fits", "whole_intervals"] = "fits"
    seed: NonNegativeInt = 0  # of the draw of videos and starts
    real_clips: Count = 2048  # at most
    fake_clips: Count | None = None  # at most
    real_interval: Count | None = None
    fake_interval: Count = 1
    real_start: Start = "uniform"
    fake_start: Start = "uniform"
    real_short: Short = "drop"
    fake_short: Short = "drop"
    resolution: Side | None = None  # left open: the size that the clips have, which must be one
    transform: Literal["short_side_then_center_crop", "center_square_then_resize"] | None = None
    kernel: Literal["bilinear", "bicubic", "lanczos"] | None = None  # of the resize
    antialias: bool | None = None
    real_storage: tuple[Storage, ...] = ()
    fake_storage: tuple[Storage, ...] = ()
    jpeg_quality: JpegQuality = 75
    jpeg_subsampling: Literal["4:4:4", "4:2:2", "4:2:0"] = "4:2:0"
    h264_crf: Crf = 5  # constant rate factor: 0 is lossless, 51 the worst
    detector: Annotated[Part, Slot("detector")] = Part(name=DETECTOR)
    metrics: Annotated[tuple[Part, ...], Slot("metric")] = (Part(name="fvd"),)


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
