"""The quick proof (keys and fingerprints), side by side with the least that each system must do for it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from statistics import median
from typing import Any

import psycopg2

from benchmarks.results import Result, figure, ratio
from benchmarks.stage import ROWS, TABLE, Stage, component
from benchmarks.timing import in_turn, timed, times

NAME = "proof"
MOST_POSTGRES, MOST_CHROMA = 2.0, 1.5
_PAGE = 1000
_COLUMNS = (
    "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public' AND table_name = %s "
    "AND is_generated = 'NEVER'"
)


@dataclass(frozen=True)
class _Known:
    """A source whose answers are there already: what is left of a comparison is the target's side."""

    records: int
    sums: Mapping[int, Any]

    def count(self) -> int:
        return self.records

    def digests(self) -> Mapping[int, Any]:
        return self.sums

    def fingerprints(self, *, buckets: Collection[int] | None = None) -> Iterator[Any]:
        raise AssertionError("equal sides are not listed")


@dataclass(frozen=True)
class _Sides:
    """Both sides of one proof, as the project asks them and bare."""

    stage: Stage
    table: Any
    known: _Known

    def prove(self) -> None:
        from sync_pipelines.engine.proof import prove

        with closing(self.stage.bind(self.table)) as binding:
            if not prove(binding).equal:
                raise AssertionError("source and target were to be equal")

    def postgres(self) -> None:
        """What a proof asks of the source where both sides are equal."""
        with self.stage.bind(self.table).source.at_snapshot() as snapshot:
            snapshot.count()
            snapshot.digests()

    def postgres_alone(self) -> None:
        """The hash query alone, through psycopg2."""
        from sync_pipelines.sources.postgres.sql import TableSql

        source = self.stage.bind(self.table).source
        query = TableSql(source.inspect(), source.spec).digests(utf8=True)
        address = self.stage.url.replace("+psycopg2", "")
        with closing(psycopg2.connect(address)) as connection, connection.cursor() as cursor:
            cursor.execute(query)
            cursor.fetchall()

    def chroma(self) -> None:
        """What a proof does beside the source: list, spool, add up, compare."""
        from sync_pipelines.engine.compare import compare

        with compare(self.known, self.stage.bind(self.table).target) as differences:
            if differences.buckets:
                raise AssertionError("source and target were to be equal")

    def chroma_alone(self) -> None:
        """The bare listing: every id with its metadata, in pages."""
        collection = self.stage.chroma().get_collection(self.table.target.collection, embedding_function=None)
        offset = 0
        while collection.get(limit=_PAGE, offset=offset, include=["metadatas"])["ids"]:
            offset += _PAGE


def _grow(stage: Stage, records: int, factor: int) -> int:
    """Multiply the source's rows; how many there are then."""
    stage.say(f"{NAME}: {records * factor:,} rows …")
    columns = [name for (name,) in stage.execute(_COLUMNS, TABLE)]
    others = ", ".join(f'"{name}"' for name in columns if name != "id")
    stage.execute(
        f"INSERT INTO {ROWS} (id, {others}) SELECT id || '_' || n, {others} "
        f"FROM {ROWS} CROSS JOIN generate_series(2, {factor}) AS n"
    )
    stage.execute(f"ANALYZE {ROWS}")
    return records * factor


def run(stage: Stage, *, quick: bool) -> Result:
    """Equal sides: the usual case, in which nothing but the sums of the buckets is compared."""
    records, rounds, factor = (5000, 3, 20) if quick else (50_000, 5, 20)
    stage.fill(records, text_bytes=300)
    table = component()
    stage.install(table)
    binding = stage.bind(table, batch_size=1000)
    stage.run(binding, mode="full")
    sides = _Sides(stage, table, _Known(records, binding.source.digests()))
    proof, chroma, chroma_alone = in_turn(
        rounds, *(lambda ask=ask: timed(ask) for ask in (sides.prove, sides.chroma, sides.chroma_alone))
    )
    many = _grow(stage, records, factor)
    postgres, postgres_alone = in_turn(
        rounds, *(lambda ask=ask: timed(ask) for ask in (sides.postgres, sides.postgres_alone))
    )
    return Result(
        name=NAME,
        compares=f"the quick proof of {records:,} equal records against the bare listing, and of {many:,} rows of "
        "PostgreSQL against the hash query alone",
        figures=(
            ratio("PostgreSQL's side / the hash query alone", times(postgres, postgres_alone), at_most=MOST_POSTGRES),
            ratio("Chroma's side / the bare listing", times(chroma, chroma_alone), at_most=MOST_CHROMA),
            figure(f"PostgreSQL's side, {many:,} rows", median(postgres), "s"),
            figure("the hash query alone", median(postgres_alone), "s"),
            figure(f"Chroma's side, {records:,} records", median(chroma), "s"),
            figure("the bare listing", median(chroma_alone), "s"),
            figure(f"the whole proof, {records:,} records", median(proof), "s"),
        ),
        notes=("Each side connects anew, looks its table up in the catalog, and answers from one snapshot.",),
    )
