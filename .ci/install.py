"""Install this checkout with the versions of constraints.txt into the environment whose Python runs this file.

uv does it, in a fifth of pip's time. It reads none of pip's settings (an institute's index, certificates, a folder of
wheels), so that they are handed to it. Where uv cannot, such as at an index that wants pip's keyring, pip does.
"""

import ast
import os
import subprocess
import sys
from collections.abc import Mapping

WANTED = ("--constraint", "constraints.txt", "--editable", ".[dev,docs,compare,text,minilm]")
NAMES = {  # pip's settings as uv calls them
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "no-index": "UV_NO_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "timeout": "UV_HTTP_TIMEOUT",
    "default-timeout": "UV_HTTP_TIMEOUT",
}


def pip_settings(listed: str) -> dict[str, str]:
    """Return pip's settings by their names, of the lines of `pip config list`: what is nearest to the command wins."""
    found: dict[str, str] = {}
    lines = [line.partition("=") for line in listed.splitlines() if "=" in line]
    for section in ("global.", "install.", ":env:."):
        for name, _, value in lines:
            if name.startswith(section):
                found[name.removeprefix(section)] = str(ast.literal_eval(value))
    return found


def as_uv_reads_them(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that tell uv what pip's settings tell pip; what uv was told itself stays."""
    found = {"UV_INDEX_STRATEGY": "unsafe-best-match"}  # pip takes the best version of all indexes
    for name, variable in NAMES.items():
        if name in settings:
            between = "," if variable == "UV_FIND_LINKS" else " "
            found[variable] = between.join(settings[name].split())
    return {variable: value for variable, value in found.items() if variable not in os.environ}


def main() -> int:
    """Install; the exit code is that of whoever did it last."""
    pip = [sys.executable, "-m", "pip"]
    quiet = [] if sys.stderr.isatty() else ["--quiet"]  # uv shows on a terminal how far it is
    options = ["--quiet", "--disable-pip-version-check", "--no-compile"]  # of 25,000 files few are ever imported
    if subprocess.run([*pip, "install", *options, "--constraint", "constraints.txt", "uv"]).returncode == 0:
        listed = subprocess.run([*pip, "config", "list"], capture_output=True, text=True).stdout
        uv = [sys.executable, "-m", "uv", "pip", "install", *quiet, "--python", sys.executable, *WANTED]
        if subprocess.run(uv, env={**os.environ, **as_uv_reads_them(pip_settings(listed))}).returncode == 0:
            return 0
    print("env: uv could not install the packages; pip does, which takes longer", file=sys.stderr)
    return subprocess.run([*pip, "install", *options, *WANTED]).returncode


if __name__ == "__main__":
    sys.exit(main())
