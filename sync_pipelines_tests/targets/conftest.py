"""Collections of a test's own on the session's Chroma server."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from sync_pipelines.sandbox.chroma import ChromaServer
from sync_pipelines.targets.chroma.client import ChromaAddress
from sync_pipelines.targets.chroma.target import ChromaTarget
from sync_pipelines.targets.chunking import ChunkingSpec
from sync_pipelines.targets.embedding import EmbeddingSpec
from sync_pipelines.targets.retries import RetryPolicy
from sync_pipelines_tests.targets.chroma_helpers import CountingEmbedding

_numbers = count(1)

MakeTarget = Callable[..., ChromaTarget]


@pytest.fixture
def address(chroma_server: ChromaServer) -> ChromaAddress:
    chroma_server.start()  # a test of faults may have stopped it
    return ChromaAddress(url=chroma_server.url)


@pytest.fixture
def embedding() -> CountingEmbedding:
    return CountingEmbedding()


@pytest.fixture
def make_target(address: ChromaAddress, embedding: CountingEmbedding) -> MakeTarget:
    """A target over a new collection (or a named one), in chunks of 60 characters, that never waits."""

    def make(**changes: Any) -> ChromaTarget:
        given: dict[str, Any] = {
            "settings": address,
            "collection": f"docs.{next(_numbers)}",
            "embedding": EmbeddingSpec(name="hash"),
            "chunking": ChunkingSpec(max_characters=60),
            "sync": "knowledge",
            "table": "reference",
            "retry": RetryPolicy(attempts=2, sleep=lambda _: None),
            "function": embedding,
        }
        return ChromaTarget(**{**given, **changes})

    return make


@pytest.fixture
def target(make_target: MakeTarget) -> ChromaTarget:
    return make_target()
