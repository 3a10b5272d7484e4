"""Downloads from a server on this machine that misbehaves in every way."""

import hashlib
import http.server
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from d2lcli.data.download import _Redirects, download, fetch
from d2lcli.data.sources import DataFile, Source
from d2lcli.errors import DataError

CONTENT = bytes(range(256)) * 400  # 102,400 bytes
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


class Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT; the path says what goes wrong, `asked` what was asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str]] = []

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{path}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        word = self.path.strip("/").split("/")[0]
        wanted = self.headers.get("Range", "")
        self.server.asked.append((word, wanted))
        first = len(self.server.asked) == 1
        body = CONTENT
        if word in ("404", "500"):
            return self.send_error(int(word))
        if word in ("redirect", "escape"):
            self.send_response(302)
            self.send_header("Location", "/good" if word == "redirect" else "ftp://127.0.0.1/file")
            return self.end_headers()
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and word != "norange" else 0
        if start >= len(body):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", "text/html" if word == "html" else "application/gzip")
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        body = body[start:]
        if word == "changed":
            body = b"!" + body[1:]
        if word != "endless":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if word in ("cut", "norange") and first:
            body = body[: len(body) // 2]
        if word == "slow":
            time.sleep(0.5)
        self.wfile.write(body)
        if word == "endless":
            self.wfile.write(body * 20)
        return None

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


class StallingHandler(Handler):
    """Announces everything, sends half, and then nothing for a while."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: len(CONTENT) // 2])
        self.wfile.flush()
        time.sleep(1.0)


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


def get(url: str, target: Path, **options: Any) -> Path:
    settings: dict[str, Any] = {"digest": DIGEST, "max_bytes": len(CONTENT), "pause": 0.01, "timeout": 5.0} | options
    return download(url, target, **settings)


def names(folder: Path) -> set[str]:
    """What lies in the folder, but for the lock."""
    return {path.name for path in folder.iterdir() if path.suffix != ".lock"}


def test_a_good_file_arrives_and_is_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int | None]] = []
    target = get(server.url("good"), tmp_path / "sub" / "file", progress=lambda *step: seen.append(step))
    assert target.read_bytes() == CONTENT
    assert seen[-1] == ("file", len(CONTENT), len(CONTENT))
    get(server.url("good"), target)
    assert len(server.asked) == 1
    assert names(target.parent) == {"file"}


def test_a_damaged_file_is_replaced(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"torn")
    assert get(server.url("good"), tmp_path / "file").read_bytes() == CONTENT


def test_a_cut_connection_goes_on_from_there(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"interrupted after {len(CONTENT) // 2} bytes"):
        get(server.url("cut"), tmp_path / "file", attempts=1)
    assert names(tmp_path) == {"file.part"}
    assert get(server.url("cut"), tmp_path / "file").read_bytes() == CONTENT
    assert server.asked == [("cut", ""), ("cut", f"bytes={len(CONTENT) // 2}-")]


def test_a_second_attempt_is_made_at_once(server: Server, tmp_path: Path) -> None:
    assert get(server.url("cut"), tmp_path / "file", attempts=2).read_bytes() == CONTENT


def test_a_server_without_ranges_starts_anew(server: Server, tmp_path: Path) -> None:
    assert get(server.url("norange"), tmp_path / "file").read_bytes() == CONTENT
    assert len(server.asked) == 2


def test_a_whole_part_is_published(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT)
    assert get(server.url("good"), tmp_path / "file").read_bytes() == CONTENT
    assert names(tmp_path) == {"file"}


@pytest.mark.parametrize("left", [b"", b"old"])
def test_a_wrong_checksum_shows_both_and_leaves_nothing(server: Server, tmp_path: Path, left: bytes) -> None:
    if left:
        (tmp_path / "file.part").write_bytes(left)
    with pytest.raises(DataError, match="wrong checksum") as caught:
        get(server.url("changed"), tmp_path / "file")
    actual = left + b"!" + CONTENT[len(left) + 1 :]
    assert DIGEST in caught.value.message
    assert hashlib.sha256(actual).hexdigest() in caught.value.message
    assert names(tmp_path) == set()


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("404", "the server answered 404"),
        ("500", "the server answered 500"),
        ("html", "a web page instead of the file"),
        ("endless", "more than the 102400 bytes"),
        ("escape", "refused a redirect to ftp://"),
    ],
)
def test_wrong_answers_are_named(server: Server, tmp_path: Path, path: str, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        get(server.url(path), tmp_path / "file", attempts=2)
    assert names(tmp_path) <= {"file.part"}
    assert get(server.url("good"), tmp_path / "file").read_bytes() == CONTENT


def test_an_announced_size_over_the_limit_is_refused_before_it_is_read(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="102400 bytes are announced, more than the 1000"):
        get(server.url("good"), tmp_path / "file", max_bytes=1000)
    assert names(tmp_path) == set()


def test_redirects_within_the_web_are_followed(server: Server, tmp_path: Path) -> None:
    assert get(server.url("redirect"), tmp_path / "file").read_bytes() == CONTENT


def test_a_redirect_from_https_to_http_is_refused() -> None:
    request = urllib.request.Request("https://127.0.0.1/file")
    with pytest.raises(DataError, match="refused a redirect to http://127"):
        _Redirects().redirect_request(request, BytesIO(), 302, "Found", {}, "http://127.0.0.1/file")


def test_a_stall_ends_the_attempt(server: Server, tmp_path: Path) -> None:
    server.RequestHandlerClass = StallingHandler
    start = time.monotonic()
    with pytest.raises(DataError, match=r"was interrupted after .* bytes: timed out"):
        get(server.url("any"), tmp_path / "file", attempts=1, timeout=0.2)
    assert time.monotonic() - start < 5
    server.RequestHandlerClass = Handler
    assert get(server.url("good"), tmp_path / "file").read_bytes() == CONTENT


def test_no_network(server: Server, tmp_path: Path) -> None:
    url = server.url("good")
    server.shutdown()
    server.server_close()
    with pytest.raises(DataError, match="cannot be reached"):
        get(url, tmp_path / "file")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x"])
def test_other_schemes_are_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="only http and https"):
        get(url, tmp_path / "file")


def test_two_processes_make_one_download(server: Server, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from d2lcli.data.download import download;"
        "download(sys.argv[1], Path(sys.argv[2]), digest=sys.argv[3], max_bytes=10**6)"
    )
    command = [sys.executable, "-c", code, server.url("slow"), str(tmp_path / "file"), DIGEST]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    both = [subprocess.Popen(command, env=environment) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert len(server.asked) == 1


def tiny_source(url: str) -> Source:
    md5 = hashlib.md5(CONTENT).hexdigest()
    file = DataFile("good", len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), md5)
    return Source("tiny", (file,), "none", url=url, ways=("ask a friend",))


def test_fetch_fills_the_cache(server: Server, own_places: Path) -> None:
    found = fetch(tiny_source(server.url("")))
    assert found.paths["good"] == own_places / "tiny" / "good"
    assert found.place.startswith("the cache")
    (own_places / "tiny" / "good").write_bytes(b"torn")
    assert fetch(tiny_source(server.url(""))).paths["good"].read_bytes() == CONTENT


def test_a_failed_fetch_lists_the_ways(server: Server) -> None:
    with pytest.raises(DataError, match=r"tiny: not on this machine, and .* answered 404") as caught:
        fetch(tiny_source(server.url("404/")))
    for way in ("ask a friend", "data.root=FOLDER", "D2L_DATA", "d2l data fetch tiny"):
        assert way in caught.value.hint
