"""Run as a process of its own by the tests: writes records, then newer ones, and kills itself at one boundary.

Arguments: server URL, collection, boundary, and twice records as JSON ([key, text, metadata]).
"""

from __future__ import annotations

import json
import os
import signal
import sys

from sync_pipelines.targets.chroma.client import ChromaAddress
from sync_pipelines.targets.chroma.target import ChromaTarget
from sync_pipelines.targets.chunking import ChunkingSpec
from sync_pipelines.targets.embedding import EmbeddingSpec
from sync_pipelines_tests.targets.chroma_helpers import Doc, put


def main(url: str, collection: str, boundary: str, old: str, new: str) -> None:
    armed = False

    def at(reached: str) -> None:
        if armed and reached == boundary:
            os.kill(os.getpid(), signal.SIGKILL)

    target = ChromaTarget(
        settings=ChromaAddress(url=url),
        collection=collection,
        embedding=EmbeddingSpec(name="hash"),
        chunking=ChunkingSpec(max_characters=60),
        boundary=at,
    )
    put(target, *records(old))
    armed = True
    put(target, *records(new))


def records(rows: str) -> list[Doc]:
    return [Doc(key, text, metadata) for key, text, metadata in json.loads(rows)]


if __name__ == "__main__":
    main(*sys.argv[1:])
