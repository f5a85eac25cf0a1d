"""SkyTimelapse: time-lapse videos of the sky, as folders of frames."""

from typing import ClassVar, Literal

from components.data.datasets.published import PublishedSet
from registry.parts.catalogue import part


@part("dataset", "sky_timelapse")
class SkyTimelapse(PublishedSet):
    """SkyTimelapse: `sky_train/` and `sky_test/` with a folder of frames for each clip of each video; no classes.

    Source: paper section 4.1 (datasets); Xiong et al. 2018, arXiv 1709.07592; official code as described in golden
        README 10.2
    Official code: yes, but ours differs where it has defects: a folder whose names it cannot read repeats no other.

    The official code drops videos of 48 frames and fewer: write `data.shortest_video: 49`.

    Args:
        path: the root of the set, which holds `sky_train`.
        resolution: not used; frames are read at their own size.
        form: `frames` as official, or `videos`: a file in place of each folder of frames.

    Raises:
        SpecError: the path is not the root of such a tree.
    """

    preset: ClassVar = {
        "resolution": 256, "interval": 3, "picking": "stride", "transform": "center_square_then_resize",
        "antialias": False, "flip": 0.0,
    }  # fmt: skip
    requires = (("model.classes", "model.classes == 0", "SkyTimelapse has no classes; leave model.classes at 0"),)
    places: ClassVar = {
        "videos": {"train": "sky_train", "test": "sky_test"},
        "frames": {"train": "sky_train", "test": "sky_test"},
    }
    drawn: ClassVar = {
        "videos": "<path>/sky_train/<video>/<clip>.mp4, and sky_test where you have it",
        "frames": "<path>/sky_train/<video>/<clip>/<frame>.jpg, and sky_test where you have it",
    }
    published: ClassVar = (
        "https://github.com/weixiong-ur/mdgan (no licence stated); the Latte authors' copy is "
        "https://huggingface.co/datasets/maxin-cn/SkyTimelapse"
    )

    def __init__(self, path: str | None, resolution: int, *, form: Literal["videos", "frames"] = "frames") -> None:
        super().__init__(path, resolution, form=form)
