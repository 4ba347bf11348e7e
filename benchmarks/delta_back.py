"""A Delta table's rows into PostgreSQL, against COPY into a temporary table and INSERT … ON CONFLICT."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from functools import partial

from benchmarks.children import Took, ours
from benchmarks.delta_load import process, seconds, times
from benchmarks.deployment import wait_for
from benchmarks.lake import DDL, SELECT, TABLE, fill
from benchmarks.results import Result, figure, ratio
from benchmarks.stage import Stage

NAME = "delta-back"
MOST, MOST_UNCHANGED = 1.1, 0.5
_SOURCE = "analysed"
OURS, BARE = "came_back", "came_back_bare"

_WAL = """
SELECT coalesce(sum(record_length), 0)::int8 FROM pg_get_wal_block_info(%s, %s) WHERE relfilenode IN (
    SELECT pg_relation_filenode(c.oid) FROM pg_class AS c WHERE c.oid = %s::regclass
    OR c.oid = (SELECT reltoastrelid FROM pg_class WHERE oid = %s::regclass)
    OR c.oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = %s::regclass))
"""


@dataclass
class Sides:
    """A Delta table, and for each side a table of PostgreSQL that follows it."""

    stage: Stage
    rows: int

    def prepare(self) -> None:
        """The Delta table, and both tables of PostgreSQL, empty."""
        fill(self.stage, self.rows)
        for table in (OURS, BARE):
            self.stage.execute(DDL.replace(TABLE, table))
        self.stage.execute("CREATE EXTENSION IF NOT EXISTS pg_walinspect")

    def change(self, number: int) -> None:
        """Another text in every row, by one commit that overwrites the Delta table."""
        import pyarrow as pa
        from adbc_driver_postgresql import dbapi
        from deltalake import write_deltalake

        query = SELECT.replace(" transcription,", f" '{number} ' || transcription AS transcription,")
        with dbapi.connect(self.stage.url.replace("+psycopg2", "")) as connection, connection.cursor() as cursor:
            cursor.execute(query)
            rows = cursor.fetch_arrow_table()
        assert isinstance(rows, pa.Table)
        feed = {"delta.enableChangeDataFeed": "true"} if number == 0 else None
        write_deltalake(str(self.stage.lake / _SOURCE), rows, mode="overwrite", configuration=feed)

    def ours(self, *, mode: str, upserted: int) -> Took:
        """One run of the sync."""
        done = ours("back", name=OURS, source=_SOURCE, table=OURS, mode=mode)
        if done.told["upserted"] != upserted:
            raise AssertionError(f"{upserted} rows were to be written: {done.told}")
        return done

    def bare(self) -> Took:
        """The same rows by bare COPY and upsert."""
        return ours("bare-back", uri=str(self.stage.lake / _SOURCE), table=BARE)

    def wal(self, action: partial[Took]) -> tuple[Took, int]:
        """What an action took, and how many bytes of WAL it made for our table, its indexes and its TOAST."""
        self._vacuum()
        # the slot keeps the WAL until it is read
        self.stage.execute("SELECT pg_create_physical_replication_slot('bench', true)")
        ((start,),) = self.stage.execute("SELECT pg_current_wal_insert_lsn()::text")
        took = action()
        ((end,),) = self.stage.execute("SELECT pg_current_wal_insert_lsn()::text")
        wait_for("the WAL to be flushed", lambda: self._flushed(end), seconds=60)
        ((written,),) = self.stage.execute(_WAL, start, end, OURS, OURS, OURS)
        self.stage.execute("SELECT pg_drop_replication_slot('bench')")
        return took, int(written)

    def _vacuum(self) -> None:
        """Whoever reads rows first after they were written marks them as committed, which is WAL where there are
        checksums, as is the server's own upkeep: neither is the sync's."""
        import psycopg2

        with closing(psycopg2.connect(self.stage.url.replace("+psycopg2", ""))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(f"VACUUM {OURS}")

    def _flushed(self, lsn: str) -> bool:
        ((reached,),) = self.stage.execute("SELECT pg_current_wal_flush_lsn() >= %s::pg_lsn", lsn)
        return bool(reached)


def run(stage: Stage, *, quick: bool, rows: int | None = None) -> Result:
    """First into empty tables, then every row changed, then a full run that finds nothing changed; in turn.

    Args:
        rows: another number of rows.
    """
    rows, rounds = rows or (10_000 if quick else 100_000), 1 if quick else 5
    sides = Sides(stage, rows)
    sides.prepare()
    sides.change(0)
    first, first_wal = sides.wal(partial(sides.ours, mode="full", upserted=rows))
    first_bare = sides.bare()
    changed: list[Took] = []
    bare: list[Took] = []
    unchanged: list[Took] = []
    written = 0
    for number in range(1, rounds + 1):
        sides.change(number)
        for side in ("ours", "bare") if number % 2 else ("bare", "ours"):
            if side == "ours":
                changed.append(sides.ours(mode="incremental", upserted=rows))
            else:
                bare.append(sides.bare())
        took, wal = sides.wal(partial(sides.ours, mode="full", upserted=0))
        unchanged.append(took)
        written += wal
        stage.say(f"{NAME}: {changed[-1].seconds:.2f} s, bare {bare[-1].seconds:.2f} s, unchanged {took.seconds:.2f} s")
    return Result(
        name=NAME,
        compares=f"{rows:,} rows of 1 KB from a Delta table into PostgreSQL, all of them changed, against COPY into a "
        f"temporary table and INSERT … ON CONFLICT DO UPDATE; {rounds} in turn, a process each",
        figures=(
            ratio("ours, every row changed / bare COPY + upsert", times(changed, bare), at_most=MOST),
            ratio("ours, nothing changed / bare COPY + upsert", times(unchanged, bare), at_most=MOST_UNCHANGED),
            figure("WAL of the table where nothing changed", written, "bytes", at_most=0),
            figure("WAL of the table for its first rows", first_wal / 1e6, "MB"),
            ratio("ours, into an empty table / bare", first.seconds / first_bare.seconds),
            figure("ours, every row changed: the work", seconds(changed), "s"),
            figure("bare, every row changed: the work", seconds(bare), "s"),
            figure("ours, nothing changed (a full run): the work", seconds(unchanged), "s"),
            figure("ours, into an empty table (a full run)", first.seconds, "s"),
            figure("bare, into an empty table", first_bare.seconds, "s"),
            figure("ours: whole process", process(changed), "s"),
            figure("bare: whole process", process(bare), "s"),
            figure("ours: peak", max(item.peak for item in changed), "MB"),
            figure("bare: peak", max(item.peak for item in bare), "MB"),
        ),
        notes=(
            "The work is without imports for both and reads the Delta table; ours is the engine's run.",
            "Ours is incremental where rows changed (the change feed), full where none did: that reads and compares "
            "every row of both sides.",
        ),
    )
