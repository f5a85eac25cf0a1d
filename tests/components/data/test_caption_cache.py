"""The caption cache gives what encoding gives, each caption once, whole or not at all."""

from pathlib import Path

import pytest
import torch

from components.data.caption_cache import CaptionFiles
from components.data.text_encoders import TextEncoder
from components.data.text_encoders.toy import Toy
from registry.errors import RunError

CAPTIONS = ["a dog", "a cat sleeps", "a dog", ""]


class Counting(Toy):
    """Tells which captions it was asked for."""

    def __init__(self, length: int = 8) -> None:
        super().__init__(width=6, length=length)
        self.asked: list[str] = []

    def encode(self, caption: str) -> torch.Tensor:
        self.asked.append(caption)
        return super().encode(caption)


def never() -> TextEncoder:
    raise AssertionError("nothing has to be encoded")


def files(root: Path, encoder: TextEncoder, captions: list[str] = CAPTIONS) -> CaptionFiles:
    return CaptionFiles(root, captions, encoder.fingerprint(), encoder.length)


def test_it_has_each_caption_once_padded_and_masked(tmp_path: Path) -> None:
    encoder, steps = Counting(), []
    cache = files(tmp_path, encoder).opened(lambda: encoder, lambda *step: steps.append(step))
    assert encoder.asked == cache.texts == ["", "a cat sleeps", "a dog"]
    assert steps[-1] == ("encoding captions", 3, 3)
    text, mask = cache.read(cache.numbers(["a dog", "", "a dog"]))
    assert text.shape == (3, 8, 6)
    assert mask.sum(1).tolist() == [3, 1, 3]
    assert torch.equal(text[0, :3], encoder.encode("a dog").half().float())
    assert torch.equal(text[1, 0], encoder.encode("")[0].half().float())
    assert not text[~mask].any()
    assert torch.equal(text[0], text[2])
    assert cache.read(torch.tensor([cache.empty]))[0].equal(text[1:2])
    rows = sum(len(encoder.encode(caption)) for caption in cache.texts)
    assert (files(tmp_path, encoder).folder / "embeddings.npy").stat().st_size < 2 * 6 * rows + 2000  # no padding


def test_it_is_encoded_once_and_anew_for_others(tmp_path: Path) -> None:
    encoder = Counting()
    first = files(tmp_path, encoder)
    first.opened(lambda: encoder)
    assert files(tmp_path, encoder, CAPTIONS[::-1]).opened(never).texts == ["", "a cat sleeps", "a dog"]
    shorter = Counting(length=2)
    others = [files(tmp_path, shorter), files(tmp_path, encoder, ["a dog"])]
    assert len({first.folder, *(other.folder for other in others)}) == 3
    _, mask = others[0].opened(lambda: shorter).read(torch.tensor([0, 1, 2]))
    assert mask.sum(1).tolist() == [1, 2, 2]


def test_captions_that_are_cut_off_are_told(tmp_path: Path) -> None:
    encoder, told = Counting(length=3), []
    files(tmp_path, encoder).opened(lambda: encoder, lambda what, *_: told.append(what))
    assert "captions of more than 3 tokens are cut off there: 'a cat sleeps'" in told


def test_a_damaged_block_ends_the_reader_and_is_encoded_again(tmp_path: Path) -> None:
    encoder = Counting()
    where = files(tmp_path, encoder)
    cache = where.opened(lambda: encoder)
    before = cache.read(torch.arange(3))[0]
    path = where.folder / "embeddings.npy"
    content = bytearray(path.read_bytes())
    content[130] ^= 1  # behind the header of 128 bytes
    path.write_bytes(content)
    reader = where.opened(never)  # opening reads the footer alone
    with pytest.raises(RunError, match=r"are damaged.*`retry` encodes them again"):
        reader.read(torch.arange(3))
    assert (where.folder / "embeddings.damaged").exists()
    again = where.opened(lambda: encoder).read(torch.arange(3))[0]
    assert torch.equal(again, before)
    assert sorted(path.name for path in where.folder.glob("[!.]*")) == ["embeddings.npy", "tokens.npy"]


def test_what_a_killed_builder_left_is_removed_and_nothing_half_is_read(tmp_path: Path) -> None:
    encoder = Counting()
    where = files(tmp_path, encoder)
    where.folder.mkdir(parents=True)
    (where.folder / ".embeddings.npy.0.tmp").write_bytes(b"half")
    where.opened(lambda: encoder)
    (where.folder / "tokens.npy").unlink()  # as if the kill came between the two
    assert where.opened(lambda: encoder).texts
    assert not list(where.folder.glob("*.tmp"))


def test_numbers_that_float16_does_not_hold_are_refused(tmp_path: Path) -> None:
    class Loud(Toy):
        def encode(self, caption: str) -> torch.Tensor:
            return 1e6 * super().encode(caption)

    where = files(tmp_path, Loud())
    with pytest.raises(RunError, match="are not finite in float16"):
        where.opened(Loud)
    assert not list(where.folder.glob("*.npy"))
