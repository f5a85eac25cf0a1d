"""Writing files so that a reader, or a kill, never meets half of one."""

import os
import uuid
from pathlib import Path


def write_atomically(path: Path, text: str) -> None:
    """Write a text file whole or not at all: under another name, onto the disk, then renamed."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
