"""Run as a process of its own: syncs many records of 8 KB and says on standard output what memory that took."""

from __future__ import annotations

import json
import os
import sys

import dagster as dg
import psutil

from sync_pipelines.engine.usage import peak_memory
from sync_pipelines_tests.dagster.project import article
from sync_pipelines_tests.dagster.world import World

MEGABYTE = 1024 * 1024

INSERT = """
INSERT INTO "Article" SELECT 'k' || n, jsonb_build_object('en', 'title ' || n),
    left((SELECT string_agg(md5(n || '/' || i), ' ') FROM generate_series(1, 243) i), 8000), n, now()
FROM generate_series(%s, %s) n"""


def main(records: int) -> None:
    """Warm up with a hundred records; then a third of all; then all of them, in full and with the proof."""
    with dg.DagsterInstance.ephemeral() as instance:
        world = World(url=os.environ["DATABASE_URL"], chroma=None, instance=instance)
        world.component = article(runs={"batch_size": 1000}, chunking={"max_characters": 10_000})
        _sync(world, 0, 99)
        found = {"baseline": psutil.Process().memory_info().rss / MEGABYTE}
        _sync(world, 100, records // 3 - 1)
        found["third"] = peak_memory() / MEGABYTE
        _sync(world, records // 3, records - 1)
        found["all"] = peak_memory() / MEGABYTE
    sys.stdout.write(json.dumps(found) + "\n")


def _sync(world: World, first: int, last: int) -> None:
    world.execute(INSERT, first, last)
    result = world.materialize(mode="full")
    assert result.get_asset_check_evaluations()[0].passed


if __name__ == "__main__":
    main(int(sys.argv[1]))
