"""The reader of a video, whatever it is made of."""

from pathlib import Path

from components.data.video.frame_folder import FrameFolderReader
from components.data.video.reader import DecordReader, PyAVReader, VideoIndex, VideoReader, decord_is_installed


def open_reader(path: Path, index: VideoIndex) -> VideoReader:
    """The reader that the index names; PyAV where decord is named but not installed (their frames are the same)."""
    if index.reader == "pictures":
        return FrameFolderReader(path, index)
    if index.reader == "decord" and decord_is_installed():
        return DecordReader(path, index)
    return PyAVReader(path, index)
