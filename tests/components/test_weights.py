import hashlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest

from components import weights
from components.weights import KNOWN, checked, fetch, find
from registry.errors import RunError, SpecError

CONTENT = bytes(range(256)) * 4000


@dataclass
class Server:
    """What the local server serves, how often it cuts the connection, and the ranges that it was asked for."""

    url: str = ""
    content: bytes = CONTENT
    cuts: int = 0  # answers that end half-way
    ranges_are_known: bool = True
    kind: str = "application/octet-stream"
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    told = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            told.asked.append(wanted)
            if self.path != "/file.pt":
                self.send_error(404)
                return
            first = int(wanted.removeprefix("bytes=").rstrip("-") or 0) if told.ranges_are_known else 0
            if first >= len(told.content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(told.content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if first else 200)
            body = told.content[first:]
            self.send_header("Content-Type", told.kind)
            self.send_header("Content-Length", str(len(body)))
            if first:
                self.send_header("Content-Range", f"bytes {first}-{len(told.content) - 1}/{len(told.content)}")
            self.end_headers()
            if told.cuts:
                told.cuts -= 1
                body = body[: len(body) // 2]
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        told.url = f"http://127.0.0.1:{listening.server_address[1]}/file.pt"
        yield told
        listening.shutdown()


@pytest.fixture
def cache(monkeypatch, tmp_path, server):
    """An empty cache, and one known file that the local server publishes."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    digest = hashlib.sha256(CONTENT).hexdigest()
    monkeypatch.setitem(
        KNOWN, "made", weights.Published("file.pt", server.url, "MADE_WEIGHTS", "a test", sha256=digest)
    )
    return tmp_path / "latte-workbench"


def nothing(what, done, total):
    pass


def test_a_file_is_fetched_once_and_its_progress_told(cache, server):
    told = []
    path = fetch("made", lambda *report: told.append(report))
    assert path == cache / "file.pt"
    assert path.read_bytes() == CONTENT
    assert told[-1] == ("file.pt", len(CONTENT), len(CONTENT))
    assert [done for _, done, _ in told] == sorted({done for _, done, _ in told})
    assert fetch("file.pt", nothing) == path
    assert server.asked == [""]
    assert [found.name for found in cache.iterdir()] == ["file.pt"]


def test_a_cut_connection_is_gone_on_with(cache, server):
    server.cuts = 2
    assert fetch("made", nothing).read_bytes() == CONTENT
    half, rest = len(CONTENT) // 2, len(CONTENT) // 4
    assert server.asked == ["", f"bytes={half}-", f"bytes={half + rest}-"]


def test_another_call_goes_on_where_the_last_gave_up(cache, server):
    server.cuts = weights.ATTEMPTS
    with pytest.raises(RunError, match=r"after \d+ bytes, 4 times; what came is kept: run it again"):
        fetch("made", nothing)
    came = (cache / "file.pt.part").stat().st_size
    assert 0 < came < len(CONTENT)
    assert not (cache / "file.pt").exists()
    server.asked.clear()
    assert fetch("made", nothing).read_bytes() == CONTENT
    assert server.asked == [f"bytes={came}-"]


def test_a_server_without_ranges_starts_again(cache, server):
    cache.mkdir()
    (cache / "file.pt.part").write_bytes(CONTENT[:1000])
    server.ranges_are_known = False
    assert fetch("made", nothing).read_bytes() == CONTENT


@pytest.mark.parametrize("part", [CONTENT, CONTENT + b"of another file"])
def test_a_part_that_is_whole_or_too_long(cache, server, part):
    cache.mkdir()
    (cache / "file.pt.part").write_bytes(part)
    assert fetch("made", nothing).read_bytes() == CONTENT


def test_another_file_than_expected_is_deleted(cache, server):
    server.content = CONTENT[:-1] + b"!"
    with pytest.raises(RunError, match=rf"SHA-256 {hashlib.sha256(server.content).hexdigest()}, not"):
        fetch("made", nothing)
    assert list(cache.iterdir()) == []


def test_a_file_in_the_cache_is_checked(cache, server):
    cache.mkdir()
    (cache / "file.pt").write_bytes(b"damaged")
    with pytest.raises(RunError, match=r"file\.pt has SHA-256 .*: delete it"):
        fetch("made", nothing)


def test_an_unknown_sha256_is_told_and_can_be_asked_for(cache, server, monkeypatch):
    digest = hashlib.sha256(CONTENT).hexdigest()
    monkeypatch.setitem(KNOWN, "made", replace(KNOWN["made"], sha256=""))
    with pytest.raises(RunError, match=f"SHA-256 {digest}, not {'0' * 64}"):
        fetch("made", nothing, sha256="0" * 64)
    path = fetch("made", nothing, sha256=digest.upper())
    assert "as asked for" in checked("made", path, digest)
    assert f"was not checked. It has {digest}" in checked("made", path)


def test_published_digits_cannot_be_overruled(cache):
    with pytest.raises(SpecError, match="is published with SHA-256"):
        fetch("made", nothing, sha256="0" * 64)


def test_what_is_not_there(cache, server, monkeypatch):
    monkeypatch.setitem(KNOWN, "made", replace(KNOWN["made"], url=server.url + ".gone"))
    with pytest.raises(RunError, match=r"says 404 .* Get file\.pt in another way"):
        fetch("made", nothing)


def test_a_web_page_is_no_weights(cache, server):
    server.kind = "text/html"
    with pytest.raises(RunError, match="gave a web page instead of the file"):
        fetch("made", nothing)


def test_offline_the_message_says_what_to_put_where(cache, monkeypatch):
    monkeypatch.setitem(KNOWN, "made", replace(KNOWN["made"], url="http://127.0.0.1:1/file.pt"))
    with pytest.raises(RunError) as told:
        fetch("made", nothing)
    for part in ("cannot be reached", "file.pt", str(cache), "MADE_WEIGHTS", KNOWN["made"].sha256):
        assert part in str(told.value)


def test_two_processes_do_not_write_one_file(cache):
    cache.mkdir()
    with weights._held(cache / "file.pt.part"), pytest.raises(RunError, match="another process is fetching it"):
        fetch("made", nothing)


def test_an_unknown_name_is_near_to_a_known_one(cache):
    with pytest.raises(SpecError, match="did you mean 'inception'"):
        fetch("inceptoin", nothing)


def test_weights_are_found_in_the_cache_and_by_variable(cache, monkeypatch, tmp_path):
    monkeypatch.delenv("MADE_WEIGHTS", raising=False)
    with pytest.raises(RunError, match=r"fetch-weights made`, or put file\.pt into .*, or set MADE_WEIGHTS .*or wait"):
        find("made", instead="wait")
    cache.mkdir()
    (cache / "file.pt").touch()
    assert find("made") == cache / "file.pt"
    monkeypatch.setenv("MADE_WEIGHTS", str(tmp_path / "gone"))
    with pytest.raises(RunError, match=r"MADE_WEIGHTS names '.*gone', which is no file"):
        find("made")


def test_what_is_known_is_well_formed():
    for name, known in KNOWN.items():
        assert known.url.startswith("https://"), name
        assert known.variable.startswith("LATTE_WORKBENCH_"), name
        assert known.file.rpartition("/")[2] in (known.member or known.url), name  # some lie in a folder of their own
        assert known.sha256 == "" or len(bytes.fromhex(known.sha256)) == 32, name
