"""FaceForensics as the paper uses it: faces, cropped from the original videos."""

from typing import ClassVar, Literal

from components.data.datasets.published import PublishedSet
from registry.parts.catalogue import part


@part("dataset", "face_forensics")
class FaceForensics(PublishedSet):
    """FaceForensics: `train/videos/`, `val/videos/` and `test/videos/` with a file for each face video; no classes.

    Source: paper section 4.1 (datasets); FaceForensics (Roessler et al. 2018, arXiv 1803.09179): 1,004 videos, 704, 150
        and 150; official code as described in golden README 10.2
    Official code: yes, but ours differs where it has defects: files are sorted, strays are rejected with a reason.

    Args:
        path: the root of the set, `preprocess_ffs` in the official configurations.
        resolution: not used; frames are read at their own size.
        form: `videos` as official, or `frames`: folders of pictures in `<split>/images/`.

    Raises:
        SpecError: the path is not the root of such a tree.
    """

    preset: ClassVar = {
        "resolution": 256, "interval": 3, "picking": "linspace", "transform": "short_side_then_center_crop",
        "antialias": False, "flip": 0.5,
    }  # fmt: skip
    requires = (("model.classes", "model.classes == 0", "FaceForensics has no classes; leave model.classes at 0"),)
    places: ClassVar = {
        "videos": {"train": "train/videos", "val": "val/videos", "test": "test/videos"},
        "frames": {"train": "train/images", "val": "val/images", "test": "test/images"},
    }
    counts: ClassVar = {"train": 704, "val": 150, "test": 150}
    drawn: ClassVar = {
        "videos": "<path>/train/videos/<video>.mp4, and val/videos, test/videos where you have them",
        "frames": "<path>/train/images/<video>/<frame>.jpg, and val/images, test/images where you have them",
    }
    published: ClassVar = (
        "https://github.com/ondyari/FaceForensics (request form, research terms); the Latte authors' copy is "
        "https://huggingface.co/datasets/maxin-cn/FaceForensics"
    )

    def __init__(self, path: str | None, resolution: int, *, form: Literal["videos", "frames"] = "videos") -> None:
        super().__init__(path, resolution, form=form)
