"""How the command line was started, so that every hint can be copied as it stands."""

import shlex
import shutil
import sys
from pathlib import Path

SCRIPT, ENTRY = "run.py", "latte-workbench"  # what is run in a checkout, and what an installation brings


def command() -> str:
    """Return the words before a verb: `.venv/bin/python run.py` or `latte-workbench`, as they were typed.

    In a notebook or a test, where nobody typed any, `python run.py`.
    """
    program = sys.argv[0] if sys.argv else ""
    name = Path(program).name
    if name == ENTRY:
        found = shutil.which(ENTRY)
        return ENTRY if found is not None and Path(found).samefile(program) else shlex.quote(program)
    typed = sys.orig_argv[: len(sys.orig_argv) - len(sys.argv) + 1]  # the interpreter, its options, and the script
    return shlex.join(typed) if name == SCRIPT and len(typed) > 1 else f"python {SCRIPT}"
