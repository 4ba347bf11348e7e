"""Snapshots in Python agree with PostgreSQL's."""

from __future__ import annotations

import psycopg2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_pipelines.engine.snapshots import Snapshot, parse_snapshot
from sync_pipelines.engine.urls import normalise_url
from sync_pipelines.sandbox.postgres import PostgresServer


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    xmin = draw(st.integers(1, 2**40))
    xmax = xmin + draw(st.integers(0, 20))
    running = draw(st.frozensets(st.integers(xmin, max(xmin, xmax - 1)))) if xmax > xmin else frozenset()
    return Snapshot(xmin, xmax, running)


@given(snapshots())
def test_the_text_form_comes_back(snapshot: Snapshot) -> None:
    assert parse_snapshot(str(snapshot)) == snapshot


@pytest.mark.parametrize("text", ["", "1", "1:2", "2:1:", "0:1:", "a:b:", "1:2:3,", "1:2:x", "1:2: 3", "-1:2:"])
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="snapshot"):
        parse_snapshot(text)


def test_what_a_snapshot_sees_is_what_postgresql_says(postgres_server: PostgresServer) -> None:
    snapshot = Snapshot(10, 20, frozenset({10, 12, 17}))
    connection = psycopg2.connect(normalise_url(postgres_server.url("postgres")).libpq)
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT g, pg_visible_in_snapshot(g::text::xid8, %s::pg_snapshot) FROM generate_series(1, 25) AS g",
            (str(snapshot),),
        )
        for tx, seen in cursor.fetchall():
            assert snapshot.sees(tx) is seen, tx
    connection.close()


def test_on_a_standby_nothing_from_xmin_on_counts_as_seen() -> None:
    snapshot = Snapshot(10, 20).on_standby()
    assert [tx for tx in range(5, 25) if snapshot.sees(tx)] == [5, 6, 7, 8, 9]
