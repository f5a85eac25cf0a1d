"""Array files that are verified when they are read: .npy files that say what they hold, with a checksum of every block.

Behind the array stands a footer: the identity (what the array is, in words of whoever writes it), the .npy header,
shape and type, and a checksum of every block of rows; then the footer's own checksum, its length, and `MAGIC`. np.load
and all other readers of .npy files see the array alone. A block's checksum depends on the identity and the block's
place, so that neither a flipped bit nor a block, or a file, of something else passes.

What it costs: 32 bytes a block of `BLOCK_BYTES`, and hashing (0.7 GB/s on a busy core) what is written, and what is
read for the first time in a process. Opening a file reads header and footer alone. What changes in a block that a
process has verified already is not noticed by that process.
"""

import json
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b, sha256
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

from registry.errors import RunError
from registry.runs.files import atomic

BLOCK_BYTES = 256 * 1024  # about so much is read and hashed at once; a row that is larger is a block of its own
MAGIC = b"\nArrays1"
DIGEST = 16  # bytes of a checksum
TAIL = DIGEST + 8 + len(MAGIC)  # bytes behind the footer

Rows = NDArray[Any]


class DamagedError(RunError):
    """A file is not what it should be; says which and why, and whoever can makes it again."""


@contextmanager
def array_writer(
    path: Path, shape: tuple[int, ...], dtype: DTypeLike, identity: str
) -> Iterator[Callable[[Rows], None]]:
    """Give a function that appends rows; the file appears whole, once all are written.

    Args:
        path: of the file.
        shape: of the whole array, with at least one element.
        dtype: of its elements.
        identity: what the array is; who reads it must say the same.

    Raises:
        OSError: the file cannot be written; `filename` says which.
    """
    layout = _Layout.of(shape, np.dtype(dtype), identity)
    with atomic(path) as file:
        file.write(layout.header)
        blocks = _Blocks(layout)

        def append(rows: Rows) -> None:
            plain = np.ascontiguousarray(rows, layout.dtype)
            assert plain.shape[1:] == layout.shape[1:], f"rows {plain.shape} of an array {layout.shape}"
            blocks.update(plain)
            file.write(plain.tobytes())

        yield append
        _write_footer(file, layout, blocks.finished())


def write_array(path: Path, array: Rows, identity: str) -> None:
    """Write an array whole or not at all.

    Raises:
        OSError: the file cannot be written; `filename` says which.
    """
    with array_writer(path, array.shape, array.dtype, identity) as append:
        append(array)


def checksum(identity: str, number: int, rows: Rows) -> bytes:
    """Return the checksum of rows that stand at a place, `number`, of what `identity` names."""
    hasher = _hasher(sha256(identity.encode()).digest(), number)
    hasher.update(_as_bytes(np.ascontiguousarray(rows)))
    return hasher.digest()


class ArrayFile:
    """An array file that is open for reading; a block is verified before its rows are handed out for the first time.

    Args:
        path: of the file.
        identity: what it must hold; None takes what the file says.

    Raises:
        DamagedError: there is no such file, it is cut short or was not written here, or it holds something else.
    """

    def __init__(self, path: Path, identity: str | None = None) -> None:
        self.path = path
        try:
            self._file = _open(path)  # kept open: what others write in its place is another file
            self._layout, self._checksums = _read_footer(self._file)
        except (OSError, ValueError) as error:
            raise DamagedError(f"{path}: {_reason(error)}") from None
        self.identity, layout = self._layout.identity, self._layout
        if identity is not None and self.identity != identity:
            raise DamagedError(f"{path}: holds {self.identity}, not {identity}")
        self.array: Rows = np.memmap(self._file, layout.dtype, "r", len(layout.header), layout.shape)
        self._verified = np.zeros(len(self._checksums), bool)

    def rows(self, numbers: Sequence[int] | NDArray[np.int64]) -> Rows:
        """Return a copy of those rows, in that order.

        Raises:
            DamagedError: a block of them is damaged.
        """
        wanted = np.asarray(numbers, dtype=np.int64)
        for block in np.unique(wanted // self._layout.rows_per_block):
            self._verify(int(block))
        return np.asarray(self.array[wanted])

    def verify(self) -> None:
        """Read the whole file.

        Raises:
            DamagedError: a block is damaged.
        """
        for block in range(len(self._checksums)):
            self._verify(block)

    def _verify(self, block: int) -> None:
        if self._verified[block]:
            return
        first = block * self._layout.rows_per_block
        last = min(first + self._layout.rows_per_block, len(self.array))
        try:
            found = checksum(self.identity, block, self._read(first, last))
        except OSError as error:
            raise DamagedError(f"{self.path}: rows {first} to {last - 1} cannot be read: {_reason(error)}") from None
        if found != self._checksums[block]:
            raise DamagedError(f"{self.path}: rows {first} to {last - 1} are damaged: their checksum is another one")
        self._verified[block] = True

    def _read(self, first: int, last: int) -> Rows:
        """Rows by an ordinary read, since a failing disk ends a process that reads through a memory map."""
        size = self._layout.dtype.itemsize * int(np.prod(self._layout.shape[1:]))
        self._file.seek(len(self._layout.header) + first * size)
        return np.frombuffer(self._file.read((last - first) * size), np.uint8)


def problem_of(path: Path, identity: str | None = None) -> str:
    """Return what is wrong with an array file, all of which is read, or "" where it is whole and holds the identity."""
    try:
        ArrayFile(path, identity).verify()
    except DamagedError as error:
        return str(error)
    return ""


def has_footer(path: Path) -> bool:
    """Tell whether a file was written here, so that it can be verified."""
    try:
        with _open(path) as file:
            file.seek(-len(MAGIC), os.SEEK_END)
            return file.read() == MAGIC
    except (OSError, ValueError):
        return False


class _Layout:
    """Where what stands in an array file, and what it is."""

    def __init__(
        self, header: bytes, shape: tuple[int, ...], dtype: np.dtype[Any], identity: str, rows_per_block: int
    ) -> None:
        self.header, self.shape, self.dtype, self.identity = header, shape, dtype, identity
        self.rows_per_block = rows_per_block

    @classmethod
    def of(cls, shape: tuple[int, ...], dtype: np.dtype[Any], identity: str) -> "_Layout":
        assert shape, "an array of rows"
        assert min(shape) > 0, f"an array with elements, not {shape}"
        header = BytesIO()
        about = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(header, about)
        row = dtype.itemsize * int(np.prod(shape[1:]))
        return cls(header.getvalue(), shape, dtype, identity, max(1, BLOCK_BYTES // row))


class _Blocks:
    """The checksums of an array that comes in pieces."""

    def __init__(self, layout: _Layout) -> None:
        self.layout = layout
        self._key = sha256(layout.identity.encode()).digest()
        self._digests: list[bytes] = []
        self._hasher, self._rows, self._seen = _hasher(self._key, 0), 0, 0

    def update(self, rows: Rows) -> None:
        """Take further rows."""
        self._seen += len(rows)
        while len(rows):
            some = rows[: self.layout.rows_per_block - self._rows]
            self._hasher.update(_as_bytes(some))
            self._rows += len(some)
            rows = rows[len(some) :]
            if self._rows == self.layout.rows_per_block:
                self._close()

    def finished(self) -> list[bytes]:
        """Return the checksum of every block; all rows have come."""
        assert self._seen == self.layout.shape[0], f"{self._seen} rows were written of {self.layout.shape[0]}"
        if self._rows:
            self._close()
        return self._digests

    def _close(self) -> None:
        self._digests.append(self._hasher.digest())
        self._hasher, self._rows = _hasher(self._key, len(self._digests)), 0


def _hasher(key: bytes, number: int) -> blake2b:
    return blake2b(digest_size=DIGEST, key=key, salt=number.to_bytes(16, "little"))


def _as_bytes(rows: Rows) -> Any:
    return rows.reshape(-1).view(np.uint8)


def _write_footer(file: BinaryIO, layout: _Layout, checksums: Sequence[bytes]) -> None:
    about = {
        "identity": layout.identity,
        "header": layout.header.hex(),
        "shape": layout.shape,
        "dtype": np.lib.format.dtype_to_descr(layout.dtype),
        "rows_per_block": layout.rows_per_block,
        "checksums": b"".join(checksums).hex(),
    }
    footer = json.dumps(about).encode()
    file.write(footer + blake2b(footer, digest_size=DIGEST).digest() + len(footer).to_bytes(8, "little") + MAGIC)


def _read_footer(file: BinaryIO) -> tuple[_Layout, list[bytes]]:
    """What an array file holds, and the checksums of its blocks; ValueError where it is not whole."""
    size = file.seek(0, os.SEEK_END)
    if size == 0:
        raise ValueError("is empty")
    file.seek(max(0, size - TAIL))
    tail = file.read(TAIL)
    length = int.from_bytes(tail[DIGEST : DIGEST + 8], "little")
    if not tail.endswith(MAGIC) or length + TAIL > size:
        raise ValueError("is cut short, or was written by something else or by an earlier version")
    file.seek(size - TAIL - length)
    footer = file.read(length)
    if blake2b(footer, digest_size=DIGEST).digest() != tail[:DIGEST]:
        raise ValueError("its footer is damaged: the checksum is another one")
    about = json.loads(footer)  # as it was written, from here on
    header, shape, dtype = bytes.fromhex(about["header"]), tuple(about["shape"]), np.dtype(about["dtype"])
    file.seek(0)
    if file.read(len(header)) != header or len(header) + dtype.itemsize * int(np.prod(shape)) + length + TAIL != size:
        raise ValueError("its header is damaged: its footer says another one")
    digests = bytes.fromhex(about["checksums"])
    layout = _Layout(header, shape, dtype, about["identity"], about["rows_per_block"])
    return layout, [digests[place : place + DIGEST] for place in range(0, len(digests), DIGEST)]


def _open(path: Path) -> BinaryIO:
    """Open a regular file for reading; a pipe would wait for someone to write into it."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("is not a regular file")
    return path.open("rb")


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "is not there"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
