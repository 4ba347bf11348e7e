"""Run as a process of its own: syncs and proves nodes of 4 KB, and says what memory a third and all of them took."""

from __future__ import annotations

import os
import sys

from sync_pipelines.engine.usage import peak_memory
from sync_pipelines_tests.graph.house import Academy, concept

INSERT = """
INSERT INTO concept (id, title) SELECT 'k' || n,
    (SELECT string_agg(md5(n || '/' || i), ' ') FROM generate_series(1, 124) i) FROM generate_series(%s, %s) n"""


def main(records: int) -> None:
    academy = Academy(os.environ["DATABASE_URL"], None)  # ty: ignore
    found = []
    for first, last in ((1, records // 3), (records // 3 + 1, records)):
        academy.execute(INSERT, first, last)
        academy.sync(concept(), mode="full", batch_size=500)
        assert academy.prove(concept(), "deep").equal
        found.append(peak_memory() / 1024 / 1024)
    sys.stdout.write(" ".join(map(str, found)) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
