"""What trigger capture costs the source's own writes: one large statement, many small ones, and bytes."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from statistics import median
from typing import Any

import psycopg2

from benchmarks.results import Result, figure, ratio
from benchmarks.stage import Stage
from benchmarks.timing import Way, in_turn, timed, times
from sync_pipelines.engine.spec import TableSpec
from sync_pipelines.sandbox.folders import temporary_folder
from sync_pipelines.sandbox.postgres import PostgresServer

NAME = "trigger-cost"

_DDL = """
CREATE TABLE {name} (id text PRIMARY KEY, body text NOT NULL, number integer NOT NULL);
ALTER TABLE {name} SET (autovacuum_enabled = off);
INSERT INTO {name} SELECT 'row_' || lpad(n::text, 9, '0'), repeat(md5(n::text), 8), 0
FROM generate_series(1, {rows}) AS n
"""
_WITHOUT, _WITH = "without_triggers", "with_triggers"
_SMALL = 500
"""Single updates in one measurement: short enough that both tables meet the same of the machine's noise."""


@dataclass(frozen=True)
class _Tables:
    """Two tables of the same rows in one database, one of them captured."""

    url: str
    rows: int

    def make(self) -> None:
        from sync_pipelines import migrations
        from sync_pipelines.sources.postgres.capture import install

        migrations.upgrade(self.url, branch="capture")
        for name in (_WITHOUT, _WITH):
            self.execute(_DDL.format(name=name, rows=self.rows))
        install(self.url, TableSpec(sync="bench", name="captured", table=_WITH, key=("id",)))
        # The server's own upkeep must not fall into one of the two measurements.
        self.execute("VACUUM ANALYZE")
        self.execute("CHECKPOINT")

    def connect(self) -> Any:
        connection = psycopg2.connect(self.url.replace("+psycopg2", ""))
        connection.autocommit = True
        return closing(connection)

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def large(self, name: str) -> Way:
        """Seconds of one UPDATE of every row."""

        def measure() -> float:
            self.execute(f"VACUUM {name}")
            return timed(lambda: self.execute(f"UPDATE {name} SET number = number + 1"))

        return measure

    def small(self, name: str) -> Way:
        """Seconds of single-row updates on one connection, each its own transaction."""

        def measure() -> float:
            with self.connect() as connection, connection.cursor() as cursor:
                return timed(lambda: [cursor.execute(statement, (key,)) for key in keys])

        statement = f"UPDATE {name} SET number = number + 1 WHERE id = %s"
        step = max(1, self.rows // _SMALL)
        keys = [f"row_{number:09d}" for number in range(1, self.rows + 1, step)][:_SMALL]
        return measure

    def log_bytes(self) -> float:
        """Bytes of the change log with its index, a line, after one update of every row."""
        self.execute("TRUNCATE sync.change_log")
        self.execute(f"UPDATE {_WITH} SET number = number + 1")
        (size,) = self.execute("SELECT pg_total_relation_size('sync.change_log')")[0]
        return size / self.rows

    def wal_bytes(self, name: str) -> float:
        """Bytes of write-ahead log a row of one update of every row."""
        self.execute(f"VACUUM {name}")
        (before,) = self.execute("SELECT pg_current_wal_insert_lsn()")[0]
        self.execute(f"UPDATE {name} SET number = number + 1")
        (written,) = self.execute(f"SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '{before}')")[0]
        return float(written) / self.rows


def run(stage: Stage, *, quick: bool) -> Result:
    """Without fsync, where the triggers show most; single updates with fsync too, as in production."""
    rows, rounds = (30_000, 3) if quick else (100_000, 5)
    stage.sandbox.postgres.create_database("triggers")
    tables = _Tables(stage.sandbox.postgres.url("triggers"), rows)
    tables.make()
    large = in_turn(rounds, tables.large(_WITH), tables.large(_WITHOUT))
    small = in_turn(rounds * 4, tables.small(_WITH), tables.small(_WITHOUT))
    durable = _durable(rows, rounds)
    rate = {name: _SMALL / median(seconds) for name, seconds in zip(("with", "without"), small, strict=True)}
    return Result(
        name=NAME,
        compares=f"updates of a table of {rows:,} rows of about 300 bytes with capture triggers against the same "
        "table without",
        figures=(
            ratio(f"UPDATE of {rows:,} rows in one statement, with / without", times(*large)),
            ratio("single-row UPDATEs, with / without", times(*small)),
            ratio("single-row UPDATEs on a server with fsync, with / without", times(*durable)),
            figure("UPDATE of every row, with", median(large[0]), "s"),
            figure("UPDATE of every row, without", median(large[1]), "s"),
            figure("single-row UPDATEs, with", rate["with"], "/s"),
            figure("single-row UPDATEs, without", rate["without"], "/s"),
            figure("single-row UPDATEs with fsync, with", _SMALL / median(durable[0]), "/s"),
            figure("single-row UPDATEs with fsync, without", _SMALL / median(durable[1]), "/s"),
            figure("change log with its index", tables.log_bytes(), "bytes a row"),
            figure("write-ahead log of the UPDATE, with", tables.wal_bytes(_WITH), "bytes a row"),
            figure("write-ahead log of the UPDATE, without", tables.wal_bytes(_WITHOUT), "bytes a row"),
        ),
        notes=("One connection over TCP; each single update is a transaction and a round trip of its own.",),
    )


def _durable(rows: int, rounds: int) -> list[list[float]]:
    with temporary_folder() as folder, PostgresServer(folder / "durable") as server:
        server.create_database("triggers")
        tables = _Tables(server.url("triggers"), min(rows, 20_000))
        tables.make()
        return in_turn(rounds, tables.small(_WITH), tables.small(_WITHOUT))
