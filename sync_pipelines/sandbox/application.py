"""The application whose tables are synced: its tables as Prisma makes them, and sample rows."""

import json
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from importlib import resources
from io import StringIO
from itertools import islice
from typing import Any

import psycopg2
from psycopg2 import sql
from psycopg2.extras import Json, execute_values

from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.engine.urls import NormalisedUrl, normalise_url
from sync_pipelines.sandbox import academy, generated
from sync_pipelines.sandbox.errors import SandboxError

KNOWLEDGE = "KnowledgeReference"
JOURNEYS = "JourneyTemplate"
SUBMISSIONS = "voice_submissions"
ANALYSES = "ai_analyses"

# `timestamp(3)` without a zone is Prisma's DateTime, and means UTC. Only Prisma's client moves "updatedAt": a
# statement that somebody types by hand does not, which is why capture must not rest on it.
# Rows of ai_analyses come from the lakehouse alone: no sample stands in a file.
TABLES = {
    KNOWLEDGE: """
        CREATE TABLE IF NOT EXISTS "KnowledgeReference" (
            "id" TEXT NOT NULL,
            "title" JSONB NOT NULL,
            "content" JSONB,
            "arabicText" TEXT,
            "category" TEXT NOT NULL,
            "tags" TEXT[],
            "source" TEXT,
            "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
            "updatedAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
            CONSTRAINT "KnowledgeReference_pkey" PRIMARY KEY ("id")
        )""",
    JOURNEYS: """
        CREATE TABLE IF NOT EXISTS "JourneyTemplate" (
            "id" TEXT NOT NULL,
            "goalKeywords" TEXT[],
            "tags" TEXT[],
            "fullJson" JSONB NOT NULL,
            "isActive" BOOLEAN NOT NULL DEFAULT true,
            "matchCount" INTEGER NOT NULL DEFAULT 0,
            "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
            "updatedAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
            CONSTRAINT "JourneyTemplate_pkey" PRIMARY KEY ("id")
        )""",
    SUBMISSIONS: """
        CREATE TABLE IF NOT EXISTS voice_submissions (
            id uuid PRIMARY KEY,
            user_id uuid NOT NULL,
            file_path text NOT NULL,
            file_name text NOT NULL,
            file_size bigint NOT NULL,
            mime_type text NOT NULL,
            duration_seconds numeric(10, 3),
            language text,
            transcription text,
            status text NOT NULL DEFAULT 'uploaded',
            tags text[],
            metadata jsonb,
            created_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now()
        )""",
    ANALYSES: """
        CREATE TABLE IF NOT EXISTS ai_analyses (
            id uuid PRIMARY KEY,
            submission_id uuid NOT NULL REFERENCES voice_submissions (id) ON DELETE CASCADE,
            sentiment text NOT NULL CHECK (sentiment IN ('positive', 'neutral', 'negative')),
            sentiment_score double precision NOT NULL CHECK (sentiment_score BETWEEN -1 AND 1),
            emotions jsonb,
            topics text[],
            keywords text[],
            summary text,
            confidence numeric(4, 3) CHECK (confidence BETWEEN 0 AND 1),
            model_name text NOT NULL,
            model_version text NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now(),
            synced_at timestamptz
        );
        CREATE INDEX IF NOT EXISTS ai_analyses_submission_id_idx ON ai_analyses (submission_id)""",
    **academy.TABLES,
}

_FILES = {
    KNOWLEDGE: "knowledge_reference.json",
    JOURNEYS: "journey_template.json",
    SUBMISSIONS: "voice_submissions.json",
    **dict.fromkeys(academy.TABLES, academy.FILE),
}


_JOURNEYS_SHARE = 20
"""One generated journey for so many knowledge records."""

_BATCH = 1000
"""Rows in one COPY and one transaction: at 2 KB a record some 2 MB in memory, for any number of records."""


@contextmanager
def transaction(url: str) -> Generator[Any]:
    """Give a psycopg2 cursor in one transaction, committed at the end.

    Args:
        url: a PostgreSQL URL in SQLAlchemy's, libpq's or Prisma's form (``?schema=x`` is honoured).

    Raises:
        SandboxError: when the server cannot be reached; a password never stands in the text.
    """
    with closing(_connect(url)) as connection, connection, connection.cursor() as cursor:
        yield cursor


def _connect(url: str) -> Any:
    address = _read(url)
    try:
        connection = psycopg2.connect(address.libpq)
    except psycopg2.OperationalError as error:
        # libpq's text names host, port, user and database, and never the password.
        raise SandboxError(f"The database cannot be reached: {str(error).strip()}") from None
    except psycopg2.Error:
        raise SandboxError("The database's URL holds an option that PostgreSQL's client does not know.") from None
    if address.schema:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(address.schema)))
    return connection


def _read(url: str) -> NormalisedUrl:
    try:
        return normalise_url(url, name="DATABASE_URL")
    except ConfigurationError as error:
        raise SandboxError(str(error)) from None


def create_tables(cursor: Any) -> None:
    """Create the application's tables where they are missing.

    Args:
        cursor: a psycopg2 cursor in an open transaction.
    """
    for statement in TABLES.values():
        cursor.execute(statement)


def missing_tables(cursor: Any) -> list[str]:
    """Return those of the application's tables that are not there.

    Args:
        cursor: a psycopg2 cursor in an open transaction.
    """
    cursor.execute("SELECT name FROM unnest(%s) AS name WHERE to_regclass(quote_ident(name)) IS NULL", (list(TABLES),))
    return [name for (name,) in cursor.fetchall()]


def has_tables(cursor: Any) -> bool:
    """Return whether the application's tables are all there.

    Args:
        cursor: a psycopg2 cursor in an open transaction.
    """
    return not missing_tables(cursor)


def create(url: str) -> None:
    """Create the application's tables with their sample rows, once.

    The rows come with their table: one that somebody deleted afterwards stays deleted, also where a later version of
    the sandbox adds a table.

    Args:
        url: the database's URL, as its owner.

    Raises:
        SandboxError: when it cannot be reached.
    """
    with transaction(url) as cursor:
        if missing := missing_tables(cursor):
            create_tables(cursor)
            load_samples(cursor, missing)


def sample_rows(table: str) -> list[dict[str, Any]]:
    """Return the sample rows of a table, as they stand in its JSON file.

    Args:
        table: one of ``_FILES``.
    """
    file = resources.files("sync_pipelines.sandbox") / "data" / _FILES[table]
    found = json.loads(file.read_text(encoding="utf-8"))
    return found[table] if isinstance(found, dict) else found


def load_samples(cursor: Any, tables: Collection[str] = TABLES) -> int:
    """Insert the sample rows that are missing; rows that are there stay as they are.

    Args:
        cursor: a psycopg2 cursor in an open transaction.
        tables: those to fill.

    Returns:
        How many rows were inserted.
    """
    return sum(_insert(cursor, table, sample_rows(table)) for table in _FILES if table in tables)


def _insert(cursor: Any, table: str, rows: Sequence[dict[str, Any]]) -> int:
    columns = list(rows[0])
    statement = sql.SQL("INSERT INTO {} ({}) VALUES %s ON CONFLICT DO NOTHING").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    values = [[_adapted(row[column]) for column in columns] for row in rows]
    # One page: psycopg2 reports the row count of the last page alone.
    execute_values(cursor, statement, values, page_size=len(values))
    return int(cursor.rowcount)


def _adapted(value: Any) -> Any:
    return Json(value, dumps=lambda item: json.dumps(item, ensure_ascii=False)) if isinstance(value, dict) else value


def generate(url: str, *, records: int, seed: int = 0, text_bytes: int = 2000) -> int:
    """Load generated rows; rows whose ids are there already stay as they are.

    Args:
        url: the database's URL; its missing tables are created.
        records: how many KnowledgeReference rows, ``gen_000000001`` and on; a twentieth as many
            JourneyTemplate rows come with them.
        seed: another seed gives other texts and times under the same ids.
        text_bytes: the size of a record's content over all its languages, in bytes of UTF-8.

    Returns:
        How many rows were inserted.

    Raises:
        SandboxError: when the database cannot be reached.
    """
    with transaction(url) as cursor:
        create_tables(cursor)
    knowledge = generated.knowledge_rows(seed=seed, text_bytes=text_bytes)
    loaded = _copy(url, KNOWLEDGE, islice(knowledge, records))
    journeys = islice(generated.journey_rows(seed=seed), records // _JOURNEYS_SHARE)
    return loaded + _copy(url, JOURNEYS, journeys)


def _copy(url: str, table: str, rows: Iterator[generated.Row]) -> int:
    with closing(_connect(url)) as connection:
        with connection, connection.cursor() as cursor:
            # COPY knows no ON CONFLICT: it fills a table of this session, from which the new rows are taken.
            cursor.execute(_with_names("CREATE TEMP TABLE {incoming} (LIKE {table})", table))
        return sum(_copy_batch(connection, table, batch) for batch in _batches(rows))


def _copy_batch(connection: Any, table: str, rows: list[generated.Row]) -> int:
    with connection, connection.cursor() as cursor:
        cursor.execute(_with_names("TRUNCATE {incoming}", table))
        cursor.copy_expert(_with_names("COPY {incoming} FROM STDIN", table), StringIO(_copy_text(rows)))
        cursor.execute(_with_names("INSERT INTO {table} TABLE {incoming} ON CONFLICT DO NOTHING", table))
        return int(cursor.rowcount)


def _with_names(statement: str, table: str) -> sql.Composed:
    incoming = sql.Identifier("pg_temp", f"incoming {table}")
    return sql.SQL(statement).format(table=sql.Identifier(table), incoming=incoming)


def _batches(rows: Iterator[generated.Row]) -> Iterator[list[generated.Row]]:
    while batch := list(islice(rows, _BATCH)):
        yield batch


def _copy_text(rows: Iterable[generated.Row]) -> str:
    return "".join("\t".join(map(_copy_value, row)) + "\n" for row in rows)


def _copy_value(value: str | None) -> str:
    """A value in COPY's text format: https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS."""
    if value is None:
        return r"\N"
    return value.replace("\\", r"\\").replace("\t", r"\t").replace("\n", r"\n").replace("\r", r"\r")
