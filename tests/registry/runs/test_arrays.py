"""Array files: what is read is what was written, and whatever was done to a file since is noticed."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from registry.runs import arrays
from registry.runs.arrays import ArrayFile, DamagedError, array_writer, has_footer, problem_of, write_array


@pytest.fixture
def array(monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """An array of seven rows in blocks of two."""
    monkeypatch.setattr(arrays, "BLOCK_BYTES", 2 * 5 * 3)
    return np.random.default_rng(0).integers(0, 256, (7, 5, 3), np.uint8)


def test_it_is_read_as_it_was_written_by_us_and_by_numpy(tmp_path: Path, array: np.ndarray) -> None:
    path = tmp_path / "array.npy"
    write_array(path, array, "an array")
    assert problem_of(path, "an array") == problem_of(path) == ""
    assert np.array_equal(ArrayFile(path, "an array").rows([6, 0, 0, 3]), array[[6, 0, 0, 3]])
    assert np.array_equal(np.load(path), array)
    assert np.array_equal(np.load(path, mmap_mode="r"), array)
    assert [file.name for file in tmp_path.iterdir()] == ["array.npy"]


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32])
def test_pieces_of_any_size_give_the_same_file(tmp_path: Path, array: np.ndarray, dtype: type) -> None:
    rows = array.astype(dtype)
    write_array(tmp_path / "whole.npy", rows, "x")
    for pieces in ([1] * 7, [3, 4], [6, 1], [2, 2, 2, 1]):
        with array_writer(tmp_path / "pieces.npy", rows.shape, dtype, "x") as append:
            for end, piece in zip(np.cumsum(pieces), pieces, strict=True):
                append(rows[end - piece : end])
        assert (tmp_path / "pieces.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()
    assert np.array_equal(np.load(tmp_path / "whole.npy"), rows)


def test_every_flipped_bit_and_every_cut_is_noticed(tmp_path: Path, array: np.ndarray) -> None:
    path = tmp_path / "array.npy"
    write_array(path, array, "an array")
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << place % 8)]) + whole[place + 1 :])
        assert problem_of(path, "an array"), f"byte {place} of {len(whole)}"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert problem_of(path, "an array"), f"cut to {length} of {len(whole)} bytes"
    path.write_bytes(whole + b"\0")
    assert problem_of(path, "an array")


def test_a_damaged_block_is_noticed_before_its_rows_are_given(tmp_path: Path, array: np.ndarray) -> None:
    path = tmp_path / "array.npy"
    write_array(path, array, "an array")
    content = bytearray(path.read_bytes())
    content[content.index(array[3].tobytes())] ^= 1
    path.write_bytes(content)
    opened = ArrayFile(path, "an array")
    assert np.array_equal(opened.rows([0, 1, 4, 6]), array[[0, 1, 4, 6]])
    for row in (2, 3):  # they share a block
        with pytest.raises(DamagedError, match=r"array\.npy: rows 2 to 3 are damaged"):
            opened.rows([0, row])
    with pytest.raises(DamagedError):
        opened.verify()


def test_blocks_and_files_of_something_else_do_not_pass(tmp_path: Path, array: np.ndarray) -> None:
    path, other = tmp_path / "array.npy", tmp_path / "other.npy"
    write_array(path, array, "clips of seed 0")
    write_array(other, array[::-1], "clips of seed 0")
    content = path.read_bytes()
    start = content.index(array[0].tobytes())
    block = 2 * array[0].nbytes
    swapped = content[start + block : start + 2 * block] + content[start : start + block]
    path.write_bytes(content[:start] + swapped + content[start + 2 * block :])
    assert "rows 0 to 1 are damaged" in problem_of(path, "clips of seed 0")
    assert problem_of(other, "clips of seed 1") == f"{other}: holds clips of seed 0, not clips of seed 1"


def test_what_is_no_array_file_is_told(tmp_path: Path, array: np.ndarray) -> None:
    path = tmp_path / "array.npy"
    assert problem_of(path).endswith("is not there")
    np.save(path, array)
    assert "was written by something else or by an earlier version" in problem_of(path)
    assert not has_footer(path)
    path.write_bytes(b"")
    assert problem_of(path).endswith("is empty")
    assert not has_footer(path)
    path.unlink()
    os.mkfifo(path)
    assert problem_of(path).endswith("is not a regular file")
    assert not has_footer(path)


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path, array: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "array.npy"
    with pytest.raises(KeyboardInterrupt):
        write_three_rows_of(path, array, KeyboardInterrupt())
    with pytest.raises(AssertionError, match="3 rows were written of 7"):
        write_three_rows_of(path, array)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device") as told:
        write_array(path, array, "x")
    assert told.value.filename == str(path)
    assert list(tmp_path.iterdir()) == []


def write_three_rows_of(path: Path, array: np.ndarray, error: BaseException | None = None) -> None:
    with array_writer(path, array.shape, array.dtype, "x") as append:
        append(array[:3])
        if error is not None:
            raise error
