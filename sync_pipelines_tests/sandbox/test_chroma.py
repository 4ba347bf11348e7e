"""Chroma's server as a child process."""

from pathlib import Path

import chromadb
import pytest

from sync_pipelines.sandbox.chroma import ChromaServer
from sync_pipelines.sandbox.errors import SandboxError
from sync_pipelines.sandbox.processes import command_line


def client(server: ChromaServer) -> chromadb.ClientAPI:
    return chromadb.HttpClient(host="127.0.0.1", port=server.port)


def test_records_and_port_outlive_a_restart_and_a_kill(folder: Path) -> None:
    with ChromaServer(folder / "chroma") as server:
        port = server.port
        collection = client(server).create_collection("kept", embedding_function=None)
        collection.upsert(ids=["a"], embeddings=[[1.0, 0.0]], documents=["sabar"])
        server.restart()
        collection.upsert(ids=["b"], embeddings=[[0.0, 1.0]], documents=["شكر"])
        server.kill()
        assert not server.answers()
        server.start()
        kept = client(server).get_collection("kept", embedding_function=None).get()
        assert kept["documents"] == ["sabar", "شكر"]
        assert server.port == port
    assert server.process is None


def test_it_listens_on_the_loopback_address_alone(chroma_server: ChromaServer) -> None:
    assert chroma_server.url.startswith("http://127.0.0.1:")
    assert chroma_server.process is not None
    assert "--host 127.0.0.1" in command_line(chroma_server.process.pid)


def test_a_proxy_in_the_environment_plays_no_part(chroma_server: ChromaServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert chroma_server.answers()


def test_a_server_that_was_never_started_says_so(folder: Path) -> None:
    server = ChromaServer(folder / "chroma")
    assert not server.answers()
    with pytest.raises(SandboxError, match="never been started"):
        _ = server.url
