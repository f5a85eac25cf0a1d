"""Files that are damaged or hostile: each is refused in one line, and nothing of them runs or grows."""

import io
import os
import pickle
import zipfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from components.model.checkpoints import inspect
from registry.errors import RunError
from tests.fixtures.checkpoint_files import HEADS, latte_entries


class Malicious:
    """A value that runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.mark),)


def saved(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def bomb() -> bytes:
    """A file of `torch.save` packed again, its numbers compressed: a thousandth of what it unpacks to."""
    packed = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(saved({"ema": {"x": torch.zeros(1_000_000)}}))) as whole,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as small,
    ):
        for entry in whole.infolist():
            small.writestr(entry.filename, whole.read(entry))
    return packed.getvalue()


def stretched() -> bytes:
    """A table of a hundred billion numbers that are one and the same in the file."""
    return saved({**latte_entries(), "pos_embed": torch.zeros(1, 1, 1).expand(1, 10_000_000, 10_000)})


def oblong() -> dict[str, torch.Tensor]:
    return {**latte_entries(), "x_embedder.proj.weight": torch.zeros(16, 4, 3, 2)}


HOSTILE: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "code": (lambda mark: saved({"ema": Malicious(mark)}), r"it would run code \(\S*mkdir\)"),
    "bare pickle": (lambda mark: pickle.dumps(Malicious(mark)), "it would run code|it is not a file of tensors"),
    "class": (lambda mark: saved({"ema": latte_entries(), "args": Namespace()}), r"run code \(argparse.Namespace\)"),
    "bomb": (lambda mark: bomb(), r"claims [\d,]+ bytes, the file has"),
    "stretched": (lambda mark: stretched(), r"'pos_embed' claims 100,000,000,000 numbers, more than lie in the file"),
    "truncated": (lambda mark: saved({"ema": latte_entries()})[:-2000], "no checkpoint can be read from it"),
    "empty": (lambda mark: b"", "no checkpoint can be read from it"),
    "text": (lambda mark: b"version https://git-lfs.github.com/spec/v1\n", "it is not a file of tensors"),
    "list": (lambda mark: saved([[1, 2], [3]]), "holds no dictionary of tensors but a list of 2"),
    "lists": (lambda mark: saved({"ema": {"x": [1, 2]}}), "'x' is a list of 2"),
    "numbers": (lambda mark: saved({1: torch.zeros(2)}), "a name is a value of type int"),
    "integers": (lambda mark: saved({"x": torch.zeros(2, dtype=torch.int64)}), "'x' holds int64, not floating-point"),
    "nothing": (lambda mark: saved({}), r"holds no dictionary of tensors but a dictionary of 0"),
    "empty tensors": (lambda mark: saved({"x_embedder.proj.weight": torch.zeros(0, 4, 2, 2)}), "is empty"),
    "depth": (lambda mark: saved({**latte_entries(), "blocks.999999.attn.qkv.bias": torch.zeros(1)}), "depth"),
    "oblong": (lambda mark: saved(oblong()), "has patches that are not square"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_or_damaged_file_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    make, told = HOSTILE[name]
    (tmp_path / "file.pt").write_bytes(make(tmp_path / "mark"))
    with pytest.raises(RunError, match=told) as refused:
        inspect(tmp_path / "file.pt", HEADS)
    assert "\n" not in str(refused.value)
    assert str(tmp_path / "file.pt") in str(refused.value)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff" * 64, (2**62).to_bytes(8, "little") + b"{}"])
def test_a_damaged_safetensors_file_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.safetensors"
    path.write_bytes(content)
    with pytest.raises(RunError, match="no checkpoint can be read from it") as refused:
        inspect(path)
    assert "\n" not in str(refused.value)
