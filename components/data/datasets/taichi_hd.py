"""Taichi-HD at 256x256: people doing tai chi, as folders of frames."""

from typing import ClassVar, Literal

from components.data.datasets.published import PublishedSet
from registry.parts.catalogue import part


@part("dataset", "taichi_hd")
class TaichiHD(PublishedSet):
    """Taichi-HD, the 256 version: `frames/train/` and `frames/test/` with a folder of frames for each video.

    Source: paper section 4.1 (datasets); First Order Motion Model (Siarohin et al. 2019, arXiv 2003.00196): 3,049 and
        285 videos, fewer wherever YouTube has lost some; official code as described in golden README 10.2
    Official code: yes, but ours differs where it has defects: short videos are left out instead of giving short clips.

    The official code resizes nothing: on frames of 256x256 at `data.resolution: 256` neither does any transform here.

    Args:
        path: the root of the set, `taichi-256` in the official configurations.
        resolution: not used; frames are read at their own size.
        form: `frames` as official, or `videos`: a file in place of each folder of frames.

    Raises:
        SpecError: the path is not the root of such a tree.
    """

    preset: ClassVar = {
        "resolution": 256, "interval": 3, "picking": "stride", "transform": "short_side_then_center_crop",
        "antialias": False, "flip": 0.5,
    }  # fmt: skip
    requires = (("model.classes", "model.classes == 0", "Taichi-HD has no classes; leave model.classes at 0"),)
    places: ClassVar = {
        "videos": {"train": "frames/train", "test": "frames/test"},
        "frames": {"train": "frames/train", "test": "frames/test"},
    }
    counts: ClassVar = {"train": 3049, "test": 285}
    drawn: ClassVar = {
        "videos": "<path>/frames/train/<video>.mp4, and frames/test where you have it",
        "frames": "<path>/frames/train/<video>/<frame>.png, and frames/test where you have it",
    }
    published: ClassVar = (
        "https://github.com/AliaksandrSiarohin/video-preprocessing (cut from YouTube; the videos stay their owners'); "
        "a part of the Latte authors' copy is https://huggingface.co/datasets/maxin-cn/Taichi-HD"
    )
    side: ClassVar = 256

    def __init__(self, path: str | None, resolution: int, *, form: Literal["videos", "frames"] = "frames") -> None:
        super().__init__(path, resolution, form=form)
