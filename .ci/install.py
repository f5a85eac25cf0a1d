"""Install this checkout with the versions of constraints.txt into the environment whose Python runs this file.

uv does it, in a fifth of pip's time. It reads none of pip's settings (an institute's index, certificates, a folder of
wheels), so that they are handed to it. Where uv cannot, such as at an index that wants pip's keyring, pip does.
"""

import math
import os
import subprocess
import sys
from collections.abc import Callable, Mapping

WANTED = ("--constraint", "constraints.txt", "--editable", ".[dev,docs,compare,text,minilm]")
PIP = (sys.executable, "-m", "pip")
SECTIONS = ("global", "install", ":env:")  # of pip's settings; a later one counts more
VARIABLES = {  # pip's settings as uv calls them; no-index is a word of its command
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "client-cert": "SSL_CLIENT_CERT",
    "proxy": "ALL_PROXY",
    "timeout": "UV_HTTP_TIMEOUT",
    "default-timeout": "UV_HTTP_TIMEOUT",
}


def pip_settings(ask: Callable[..., str]) -> dict[str, str]:
    """Return pip's settings by their names.

    Args:
        ask: gives what pip prints, for the words of its command.
    """
    found: dict[str, str] = {}
    listed = {line.partition("=")[0] for line in ask("config", "list").splitlines() if "=" in line}
    for section in SECTIONS:
        for name in sorted(listed):
            if name.startswith(f"{section}."):  # pip knows which of several files counts
                found[name.removeprefix(f"{section}.")] = ask("config", "get", name).strip()
    return found


def variables(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the environment that tells uv what settings tell pip; what uv was told itself stays."""
    found = {"UV_INDEX_STRATEGY": "unsafe-best-match"}  # pip takes the best version of all indexes
    for name, variable in VARIABLES.items():
        if name in settings:
            between = "," if variable == "UV_FIND_LINKS" else " "
            found[variable] = between.join(settings[name].split())
    if "UV_HTTP_TIMEOUT" in found:
        found["UV_HTTP_TIMEOUT"] = str(math.ceil(float(found["UV_HTTP_TIMEOUT"])))
    return {variable: value for variable, value in found.items() if variable not in os.environ}


def words(settings: Mapping[str, str]) -> list[str]:
    """Return what settings tell pip and only the command can tell uv."""
    return ["--no-index"] if settings.get("no-index", "").lower() in ("1", "true", "yes", "on") else []


def main() -> int:
    """Install; the exit code is that of whoever did it last."""
    quiet = [] if sys.stderr.isatty() else ["--quiet"]  # uv shows on a terminal how far it is
    options = ["--quiet", "--disable-pip-version-check", "--no-compile"]  # of 25,000 files few are ever imported
    if subprocess.run([*PIP, "install", *options, "--constraint", "constraints.txt", "uv"]).returncode == 0:
        settings = pip_settings(lambda *asked: subprocess.run([*PIP, *asked], capture_output=True, text=True).stdout)
        uv = [sys.executable, "-m", "uv", "pip", "install", *quiet, *words(settings), "--python", sys.executable]
        if subprocess.run([*uv, *WANTED], env={**os.environ, **variables(settings)}).returncode == 0:
            return 0
    print("env: uv could not install the packages; pip does, which takes longer", file=sys.stderr)
    return subprocess.run([*PIP, "install", *options, *WANTED]).returncode


if __name__ == "__main__":
    sys.exit(main())
