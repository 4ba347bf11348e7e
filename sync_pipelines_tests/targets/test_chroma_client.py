"""The connection: errors in three classes, no secret in any of them, a folder for one process."""

from __future__ import annotations

import gc
import json
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from chromadb.errors import InternalError

from sync_pipelines.engine.errors import ConfigurationError, RunError, SyncError, TransientError
from sync_pipelines.targets.chroma import client
from sync_pipelines.targets.chroma.client import ChromaAddress, connect
from sync_pipelines.targets.chroma.errors import classify
from sync_pipelines.targets.chroma.sessions import is_loopback, sessions_for
from sync_pipelines.targets.chroma.target import ChromaTarget
from sync_pipelines.targets.embedding import EmbeddingSpec
from sync_pipelines.targets.retries import RetryPolicy
from sync_pipelines_tests.targets.chroma_helpers import Doc, marks, put, wanted

CANARY = "canary-7f3a"


def test_a_folder_that_is_a_file_is_a_setting_to_correct(tmp_path: Path):
    (tmp_path / "store").write_text("")
    connection = connect(ChromaAddress(path=str(tmp_path / "store")))
    with pytest.raises(ConfigurationError, match=r"store: File exists\. Correct CHROMA_PATH\."):
        connection.call(
            lambda found: found.heartbeat(), doing="ask", place={"sync": None, "table": None}, retry=RetryPolicy()
        )


class Front(BaseHTTPRequestHandler):
    """Answers everything with one status and what was sent to it."""

    status = 200
    headers_seen: dict[str, str]

    def do_GET(self) -> None:
        type(self).headers_seen = dict(self.headers)
        self.send_response(self.status)
        self.send_header("Retry-After", "7")
        self.end_headers()
        self.wfile.write(f"<html>{dict(self.headers)}</html>".encode())

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def front() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Front) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def failure(pauses: list[float] | None = None, **address: object) -> SyncError:
    retry = RetryPolicy(attempts=2, sleep=(pauses if pauses is not None else []).append)
    target = ChromaTarget(settings=ChromaAddress(**address), collection="abc", sync="s", table="t", retry=retry)
    with pytest.raises(SyncError) as caught:
        target.count()
    return caught.value


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, ConfigurationError),
        (403, ConfigurationError),
        (429, TransientError),
        (500, TransientError),
        (502, TransientError),
        (503, TransientError),
        (504, TransientError),
        (400, RunError),
        (200, RunError),
    ],
)
def test_a_status_decides_the_class_and_no_secret_is_shown(
    front: str, monkeypatch: pytest.MonkeyPatch, status: int, kind: type[SyncError]
):
    monkeypatch.setattr(Front, "status", status)
    pauses: list[float] = []
    error = failure(pauses, url=front, token=CANARY, headers=(("X-Other", CANARY + "2"),))
    assert type(error) is kind
    assert CANARY not in str(error)
    assert "s/t" in str(error)
    assert Front.headers_seen["Authorization"] == f"Bearer {CANARY}"
    assert [pause >= 7 for pause in pauses] == ([True] if kind is TransientError else [])


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://no.such.host.invalid:8000"])
def test_a_server_that_is_away_is_transient(url: str):
    pauses: list[float] = []
    error = failure(pauses, url=url)
    assert type(error) is TransientError
    assert "CHROMA_URL" in str(error)
    assert len(pauses) == 1


def test_a_server_that_takes_a_connection_and_answers_nothing_is_not_waited_for_without_end(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(client, "REQUEST_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        error = failure(url=f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert type(error) is TransientError
    assert "timed out" in str(error)


class Wedged(Front):
    """As Chroma is while its SQLite is locked: it says who we are, and nothing that stands in a table."""

    over: threading.Event

    def do_GET(self) -> None:
        if not self.path.endswith("/identity"):
            self.over.wait(20)
            return
        body = json.dumps({"user_id": "", "tenant": "default_tenant", "databases": ["default_database"]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def test_a_server_whose_database_is_locked_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(client, "REQUEST_SECONDS", 0.2)
    monkeypatch.setattr(Wedged, "over", threading.Event(), raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Wedged) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        began = time.monotonic()
        error = failure(url=f"http://127.0.0.1:{server.server_port}")
        assert time.monotonic() - began < 10
        Wedged.over.set()
        server.shutdown()
    assert type(error) is TransientError
    assert "Chroma does not answer (connect)" in str(error)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("error returned from database: (code: 778) disk I/O error", RunError),
        ("error returned from database: (code: 13) database or disk is full", RunError),
        ("attempt to write a readonly database", RunError),
        ("Error in compaction: Failed to apply logs to the metadata segment", TransientError),
    ],
)
def test_a_full_disk_is_told_with_what_to_do(words: str, kind: type[SyncError]):
    error = classify(InternalError(words), doing="write", place={"sync": "s", "table": "t"})
    assert type(error) is kind
    assert "Free space on the disk of Chroma's server" in str(error)


def test_a_password_in_the_url_is_not_shown():
    error = failure(url=f"http://user:{CANARY}@127.0.0.1:1")
    assert CANARY not in str(error)
    assert CANARY not in repr(ChromaAddress(url="http://h", token=CANARY, headers=(("a", CANARY),)))


@pytest.mark.parametrize(
    "url", ["localhost:8000", "ftp://host", "http://", "http://[::1", "http://h:99999", "http://h:abc"]
)
def test_an_address_that_is_none_is_a_configuration_error(url: str):
    assert type(failure(url=url)) is ConfigurationError


@pytest.mark.parametrize("both", [{}, {"url": "http://h:1", "path": "p"}])
def test_one_of_url_and_path_is_needed(both: dict):
    assert type(failure(**both)) is ConfigurationError


def test_a_tenant_that_does_not_exist_is_no_outage(address: ChromaAddress):
    for wrong in ({"tenant": "nobody"}, {"database": "nothing"}):
        error = failure(url=address.url, **wrong)
        assert type(error) is ConfigurationError
        assert "CHROMA_TENANT" in str(error)


def test_what_chroma_reads_from_the_environment_does_not_disturb(
    address: ChromaAddress, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("CHROMA_SERVER_HOST", "somewhere.else")
    monkeypatch.setenv("CHROMA_SERVER_HTTP_PORT", "1")
    monkeypatch.setenv("CHROMA_API_IMPL", "nonsense")
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("CHROMA_SERVER_HOST=third.place\nCHROMA_SERVER_NOFILE=many\n")
    connection = connect(ChromaAddress(url=address.url, headers=(("X-Only-Here", "1"),)))
    assert connection.client.heartbeat()
    assert connect(ChromaAddress(path=str(tmp_path / "store"))).client.heartbeat()


def test_targets_of_one_process_share_a_connection(address: ChromaAddress):
    assert connect(address) is connect(ChromaAddress(url=address.url))
    assert connect(address) is not connect(ChromaAddress(url=address.url, token="x"))


def folder_target(folder: Path) -> ChromaTarget:
    return ChromaTarget(
        settings=ChromaAddress(path=str(folder)), collection="docs", embedding=EmbeddingSpec(name="hash")
    )


@pytest.mark.slow
def test_a_folder_is_for_its_owner_and_for_one_process(tmp_path: Path):
    folder = tmp_path / "deep" / "chroma"
    target = folder_target(folder)
    docs = [Doc("a"), Doc("b", "a long text. " * 200)]
    put(target, *docs)
    assert marks(target) == wanted(*docs)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert put(folder_target(folder), *docs)[0].unchanged == 2  # the same process may
    found = _other_process(folder)
    assert "another process" in found
    assert f"chroma run --path {folder}" in found
    del target
    gc.collect()
    assert _other_process(folder) == "2"
    again = folder_target(folder)
    assert marks(again) == wanted(*docs)


def _other_process(folder: Path) -> str:
    program = (
        "import sys\n"
        "from sync_pipelines.targets.chroma.target import ChromaTarget\n"
        "from sync_pipelines.targets.chroma.client import ChromaAddress\n"
        "from sync_pipelines.targets.embedding import EmbeddingSpec\n"
        "from sync_pipelines.engine.errors import RunError\n"
        "address, hashed = ChromaAddress(path=sys.argv[1]), EmbeddingSpec(name='hash')\n"
        "try: print(ChromaTarget(settings=address, collection='docs', embedding=hashed).count())\n"
        "except RunError as error: print(error)\n"
    )
    found = subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=True)
    return found.stdout.strip()


@pytest.mark.parametrize(
    "proxies",
    [
        {"HTTP_PROXY": "http://127.0.0.1:9"},
        {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"},
        {"ALL_PROXY": "socks5://127.0.0.1:9"},
    ],
)
def test_a_server_on_this_machine_is_asked_without_the_environments_proxy(
    address: ChromaAddress, make_target: Callable[..., ChromaTarget], monkeypatch: pytest.MonkeyPatch, proxies: dict
):
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, url in proxies.items():
        monkeypatch.setenv(name, url)
    for host in ("127.0.0.1", "localhost"):
        url = (address.url or "").replace("127.0.0.1", host)
        # a tenant makes chromadb ask through its second session, too; a new token makes a connection of our own
        own = ChromaAddress(url=url, tenant="default_tenant", database="default_database", token=f"t-{host}")
        target = make_target(settings=own)
        put(target, Doc("a"))
        assert target.count() == 1


def test_any_other_server_is_asked_through_the_proxy(front: str, monkeypatch: pytest.MonkeyPatch):
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", front)
    failure(url="http://chroma.example.com:8000")
    assert Front.headers_seen["Host"] == "chroma.example.com:8000"


def test_the_hosts_of_this_machine_are_known_by_every_name():
    assert all(map(is_loopback, ("localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "127.9.9.9", "::1", "0.0.0.0")))
    assert not any(map(is_loopback, ("localhost.example.com", "10.0.0.1", "example.com", "127.example.com", "")))


def test_of_sessions_that_others_make_nothing_changes(monkeypatch: pytest.MonkeyPatch):
    import httpx
    from chromadb.api import fastapi

    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with sessions_for("127.0.0.1"):
        assert not fastapi.httpx.Client(timeout=None)._mounts
    assert fastapi.httpx.Client(timeout=None)._mounts
    assert fastapi.httpx.HTTPStatusError is httpx.HTTPStatusError
