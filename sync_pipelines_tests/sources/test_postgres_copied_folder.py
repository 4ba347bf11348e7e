"""A source whose data folder was copied, and put back after it was written to."""

from __future__ import annotations

import subprocess
from contextlib import closing

import psycopg2
import pytest

from sync_pipelines.engine.urls import normalise_url
from sync_pipelines.migrations import upgrade
from sync_pipelines.sandbox.postgres import PostgresServer
from sync_pipelines.sources.postgres.continuity import UNKNOWN_RUN
from sync_pipelines_tests.sources.helpers import Connection, make_item, reader
from sync_pipelines_tests.sources.test_postgres_restores import amounts


@pytest.mark.slow
def test_a_copied_data_folder_is_recognised_after_new_writes(fresh: PostgresServer) -> None:
    url = fresh.url("capture")
    upgrade(url, branch="capture")

    def run(*statements: str) -> None:
        with closing(psycopg2.connect(normalise_url(url).libpq)) as raw:
            raw.autocommit = True
            Connection(raw).run(*statements)

    with closing(psycopg2.connect(normalise_url(url).libpq)) as raw:
        raw.autocommit = True
        make_item(Connection(raw))
    target = reader(url)
    target.sync()
    fresh.stop()
    copy = fresh.data.with_name("copy")
    subprocess.run(["cp", "-a", str(fresh.data), str(copy)], check=True)
    fresh.start()
    for id in (1, 2):
        run(f"UPDATE item SET amount = 5 WHERE id = {id}")
        target.sync()
    fresh.stop()
    subprocess.run(["rm", "-r", str(fresh.data)], check=True)
    copy.rename(fresh.data)
    fresh.start()
    run(*["UPDATE item SET amount = 6 WHERE id = 3"] * 100)
    assert target.sync().reason == UNKNOWN_RUN
    assert amounts(target) == {"1": 0, "2": 0, "3": 6}
    assert not target.sync().full
