"""Which modules hold parts: those of `components` that have the mark, and those that installed packages register.

No list of modules is kept: a new file with `@part(…)` below `components/` is there at once. Finding them reads each
file's bytes and parses none.
"""

import re
from importlib import metadata

from registry.parts.sources import modules_below

PACKAGE = "components"  # whose folders hold the built-in parts
ENTRY_POINT_GROUP = "latte_workbench.parts"
MARK = re.compile(rb"^[ \t]*@[\w.]*\bpart\(", re.MULTILINE)


def built_in() -> list[str]:
    """Return the modules of this repository that hold parts, in alphabetical order."""
    return [module for module, file in modules_below(PACKAGE).items() if MARK.search(file.read_bytes())]


def installed() -> list[str]:
    """Return the modules that installed packages register by an entry point, in alphabetical order.

    An entry point may be `package.module` or `package.module:Class`; the module is read either way.
    """
    return sorted({point.module for point in metadata.entry_points(group=ENTRY_POINT_GROUP)})
