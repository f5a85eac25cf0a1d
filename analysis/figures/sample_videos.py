"""Sampled videos of a replicate, as a notebook shows them: they play, muted and again and again."""

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.figures.pictures import CONTACT_SHEET
from registry.errors import RunError
from registry.runs.replicate import Replicate

MOST = 8  # videos in a notebook's cell


@dataclass(frozen=True)
class SampleVideos:
    """The previews of a replicate.

    Args:
        name: of the replicate.
        clips: mp4 files, a clip each.
        contact_sheet: real beside sampled clips, as one picture.
    """

    name: str
    clips: Sequence[Path]
    contact_sheet: Path | None

    def __str__(self) -> str:
        return f"{self.name}: {len(self.clips)} clips in {self.clips[0].parent}"

    def _repr_html_(self) -> str:
        videos = "".join(f"<figure style='margin:4px'>{_video(clip)}</figure>" for clip in self.clips[:MOST])
        left = len(self.clips) - MOST
        more = f"<p>{left} more in {html.escape(str(self.clips[0].parent))}</p>" if left > 0 else ""
        return f"<p>{html.escape(self.name)}</p><div style='display:flex;flex-wrap:wrap'>{videos}</div>{more}"


def sample_videos(replicate: Replicate) -> SampleVideos:
    """Return the sampled videos of a replicate.

    Raises:
        RunError: it has none yet.
    """
    sheet, clips = replicate.folder / CONTACT_SHEET, clips_of(replicate.folder)
    if not clips:
        where = f"they would lie in {sheet.parent}"
        raise RunError(f"{replicate.name}: has no sampled videos yet ({replicate.state}); {where}")
    return SampleVideos(replicate.name, clips, sheet if sheet.is_file() else None)


def clips_of(evaluation: Path) -> list[Path]:
    """Return the single clips among the previews of an evaluation's folder, in their order."""
    return sorted((evaluation / CONTACT_SHEET).parent.glob("clip-*.mp4"))


def data_uri(clip: Path) -> str:
    """Return an mp4 file as an address that holds all of it."""
    return f"data:video/mp4;base64,{base64.b64encode(clip.read_bytes()).decode()}"


def _video(clip: Path) -> str:
    return (
        f"<video src='{data_uri(clip)}' title='{html.escape(clip.name)}' width='160' "
        "style='image-rendering:pixelated' autoplay loop muted playsinline controls></video>"
    )
