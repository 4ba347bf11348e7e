"""The analysis job: it stands in for the one that runs in the lakehouse after submissions have arrived there.

It knows nothing of the sync. Like a job on Databricks it reads one Delta table, voice/voice_submissions, and merges
what it finds into another one, voice/ai_analyses, whose change feed is on; the sync carries that to PostgreSQL.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sync_pipelines.sandbox.errors import SandboxError
from sync_pipelines.sandbox.lexicon import MODEL, VERSION, analyse
from sync_pipelines.targets.delta.store import literal

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from sync_pipelines.targets.delta.settings import DeltaSettings

SUBMISSIONS, ANALYSES = "voice/voice_submissions", "voice/ai_analyses"

_IDS = uuid.UUID("6f0d2f0e-3c1b-5a4e-9c55-0d6f8a1f4b27")
"""The namespace of the analyses' ids: a submission has one, which is always the same."""

_ROWS = 10_000
"""Of one commit: what is held in memory, for any number of submissions."""

_MOMENT = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("submission_id", pa.string(), nullable=False),
        pa.field("sentiment", pa.string()),
        pa.field("sentiment_score", pa.float64()),
        pa.field("emotions", pa.map_(pa.string(), pa.float64())),
        pa.field("topics", pa.list_(pa.string())),
        pa.field("keywords", pa.list_(pa.string())),
        pa.field("summary", pa.string()),
        pa.field("confidence", pa.decimal128(4, 3)),
        pa.field("model_name", pa.string()),
        pa.field("model_version", pa.string()),
        pa.field("created_at", _MOMENT),
        pa.field("updated_at", _MOMENT),
        pa.field("synced_at", _MOMENT),
    ]
)
"""`synced_at` is that of the submission as it was analysed: by it, and by no clock, the job knows what is new."""

_SPOKEN = "coalesce(trim(s.transcription), '') <> ''"
_NEW = f"""
SELECT s.id, s.language, s.transcription, s.synced_at, a.created_at
FROM submissions AS s LEFT JOIN analyses AS a ON a.submission_id = s.id
WHERE {_SPOKEN} AND (a.id IS NULL OR a.synced_at IS DISTINCT FROM s.synced_at)
"""
_GONE = f"""
SELECT a.id FROM analyses AS a
WHERE NOT EXISTS (SELECT 1 FROM submissions AS s WHERE s.id = a.submission_id AND {_SPOKEN})
"""


@dataclass(frozen=True, kw_only=True)
class Done:
    """What one run of the job has written: analyses, and those removed whose submission is gone or has no text."""

    analysed: int = 0
    removed: int = 0


def run(settings: DeltaSettings) -> Done:
    """Analyse each submission that is new or was written again since its analysis; nothing new makes no commit.

    Args:
        settings: the lakehouse.

    Raises:
        SandboxError: no submission has arrived there yet.
    """
    submissions = _opened(settings, SUBMISSIONS)
    if submissions is None:
        raise SandboxError(
            f"There is no Delta table {SUBMISSIONS!r} below {settings.uri} yet: sync-pipelines sync {SUBMISSIONS}"
        )
    analyses = _opened(settings, ANALYSES) or _created(settings)
    gone = _asked(_GONE, submissions, analyses)
    removed = sum(_remove(_written(settings), page) for page in _pages(gone))
    now = datetime.now(UTC)
    new = (_row(row, now) for row in _asked(_NEW, submissions, analyses))
    return Done(analysed=sum(_merge(_written(settings), page) for page in _pages(new)), removed=removed)


def _row(submission: dict[str, Any], now: datetime) -> dict[str, Any]:
    found = asdict(analyse(submission["transcription"], submission["language"]))
    return found | {
        "id": str(uuid.uuid5(_IDS, submission["id"])),
        "submission_id": submission["id"],
        "emotions": list(found["emotions"].items()) or None,
        "confidence": Decimal(str(found["confidence"])),
        "model_name": MODEL,
        "model_version": VERSION,
        "created_at": submission["created_at"] or now,
        "updated_at": now,
        "synced_at": submission["synced_at"],
    }


def _opened(settings: DeltaSettings, name: str) -> DeltaTable | None:
    from deltalake import DeltaTable

    place, options = settings.table(name), dict(settings.options) or None
    return DeltaTable(place, storage_options=options) if DeltaTable.is_deltatable(place, options) else None


def _written(settings: DeltaSettings) -> DeltaTable:
    """A handle of its own: the questions are answered from the version that they were asked of."""
    found = _opened(settings, ANALYSES)
    if found is None:
        raise SandboxError(f"The Delta table {ANALYSES!r} was removed while the analysis ran: run it again.")
    return found


def _created(settings: DeltaSettings) -> DeltaTable:
    from deltalake import DeltaTable, Schema

    return DeltaTable.create(
        settings.table(ANALYSES),
        Schema.from_arrow(SCHEMA),
        name="ai_analyses",
        description="What the sandbox's analysis job found in each submission.",
        configuration={"delta.enableChangeDataFeed": "true"},
        storage_options=dict(settings.options) or None,
    )


def _asked(query: str, submissions: DeltaTable, analyses: DeltaTable) -> Iterator[dict[str, Any]]:
    from deltalake import QueryBuilder

    asked = QueryBuilder().register("submissions", submissions).register("analyses", analyses).execute(query)
    for batch in pa.RecordBatchReader.from_stream(asked):
        yield from batch.to_pylist()


def _pages(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while page := list(islice(rows, _ROWS)):
        yield page


def _merge(analyses: DeltaTable, page: list[dict[str, Any]]) -> int:
    rows = pa.Table.from_pylist(page, schema=SCHEMA)
    merging = analyses.merge(rows, "t.id = s.id", source_alias="s", target_alias="t")
    merging.when_matched_update_all().when_not_matched_insert_all().execute()
    return len(page)


def _remove(analyses: DeltaTable, page: list[dict[str, Any]]) -> int:
    analyses.delete(f"id IN ({', '.join(literal(row['id']) for row in page)})")
    return len(page)
