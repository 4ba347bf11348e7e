"""A table of submissions for the Delta benchmarks: rows of about 1 KB, their changes, and the table's documents.

A row is a uuid as the key, another uuid, three short texts, one of 700 characters, jsonb and two timestamps. Rows lie
in the order of `created_at`, as in an application that grows; their keys are random.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import md5
from io import StringIO
from itertools import islice
from typing import TYPE_CHECKING, Any

from benchmarks.stage import Place
from sync_pipelines.sandbox import application

if TYPE_CHECKING:
    from sync_pipelines.components.delta_to_postgres import DeltaToPostgres
    from sync_pipelines.components.postgres_to_delta import PostgresToDelta

TABLE = "submission"
COLUMNS = ("id", "user_id", "file_name", "language", "status", "transcription", "metadata", "created_at", "updated_at")
_TYPES = """
    id uuid PRIMARY KEY, user_id uuid NOT NULL, file_name text NOT NULL, language text, status text NOT NULL,
    transcription text, metadata jsonb, created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL
"""
DDL = f"CREATE TABLE IF NOT EXISTS {TABLE} ({_TYPES})"

SELECT = (
    "SELECT id::text AS id, user_id::text AS user_id, file_name, language, status, transcription, "
    f"metadata::text AS metadata, created_at, updated_at FROM {TABLE}"
)
"""What somebody reads who has nothing but ADBC, to whom a uuid and jsonb are opaque."""

_BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
_STEP = timedelta(seconds=30)
_PAGE = 20_000
_TEXT = 700


def component(*, name: str = TABLE, **changed: Any) -> PostgresToDelta:
    """The table's document, with the layout that `defs/voice` has.

    Args:
        name: of the table in the ledger, and below DELTA_URI. changed: other blocks.
    """
    from sync_pipelines.components.postgres_to_delta import PostgresToDelta

    document = {
        "sync": "bench",
        "name": name,
        "source": {"connection": "bench", "table": TABLE, "key": ["id"], "changed_at": "updated_at"},
        "target": {"table": f"bench/{name}", "engine": "delta-rs"},
        "layout": {"sort_by": "created_at", "file_mb": 16},
        **changed,
    }
    return PostgresToDelta.model_validate(document)


def back_component(*, name: str, source: str, table: str) -> DeltaToPostgres:
    """The document of the way back: a Delta table into a table of PostgreSQL."""
    from sync_pipelines.components.delta_to_postgres import DeltaToPostgres

    document = {
        "sync": "bench",
        "name": name,
        "source": {"table": source, "key": ["id"], "changed_at": "updated_at", "engine": "delta-rs"},
        "target": {"connection": "bench", "table": table},
    }
    return DeltaToPostgres.model_validate(document)


def fill(place: Place, rows: int, *, first: int = 0, updated: datetime | None = None) -> None:
    """Rows with the numbers `first` to `first + rows`; the table is made if it is not there.

    Args:
        updated: their `updated_at`; up to 15 minutes after `created_at` if left out.
    """
    place.execute(DDL)
    made = generated(range(first, first + rows), updated=updated)
    while page := "".join(islice(made, _PAGE)):
        with application.transaction(place.url) as cursor:
            cursor.copy_expert(f"COPY {TABLE} ({', '.join(COLUMNS)}) FROM STDIN", StringIO(page))
    place.execute(f"ANALYZE {TABLE}")


def generated(numbers: range, *, updated: datetime | None = None) -> Iterator[str]:
    """Lines of COPY, the same for the same numbers."""
    dice = random.Random(numbers.start)
    words = _sentences(random.Random(0))
    for number in numbers:
        text = " ".join(dice.choices(words, k=14))[:_TEXT]
        created = _BEGIN + number * _STEP
        changed = updated or created + timedelta(seconds=number % 900)
        yield (
            f"{key(number)}\t{key(-1 - number % 5000)}\trecording-{number:09d}.m4a\t{('en', 'id', 'ar')[number % 3]}\t"
            f'analysed\t{text}\t{{"device": "phone-{number % 40}", "rate": 44100, "tags": ["{words[number % 500]}", '
            f'"n{number % 9}"]}}\t{created.isoformat()}\t{changed.isoformat()}\n'
        )


def key(number: int) -> str:
    """A row's uuid: random to look at."""
    text = md5(str(number).encode(), usedforsecurity=False).hexdigest()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _sentences(dice: random.Random) -> list[str]:
    words = ["".join(dice.choices("aeioubdklmnprst", k=dice.randint(2, 9))) for _ in range(4000)]
    return [" ".join(dice.choices(words, k=8)) for _ in range(20_000)]


def change(place: Place, *, changed: int, among: int | None, new: int, first: int) -> None:
    """Other texts for some rows, and some new rows.

    Args:
        changed: so many rows get another text. among: they are of the newest so many; None spreads them over all.
        new: so many rows are new. first: number of the first new row.
    """
    newest = "" if among is None else f"ORDER BY created_at DESC LIMIT {among}"
    place.execute(
        f"UPDATE {TABLE} SET transcription = 'again ' || left(transcription, {_TEXT - 10}), updated_at = "
        f"clock_timestamp() WHERE id IN (SELECT id FROM (SELECT id FROM {TABLE} {newest}) AS chosen "
        f"ORDER BY random() LIMIT {changed})"
    )
    fill(place, new, first=first, updated=datetime.now(UTC))
