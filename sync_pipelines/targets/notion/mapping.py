"""Batches of notes → batches of pages, by a function that makes one page."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from sync_pipelines.engine.model import CHANGED_AT, FINGERPRINT, KEY, PROBLEM, Rejection

PAGE = "page"
SCHEMA = pa.schema(
    [
        pa.field(KEY, pa.string(), nullable=False),
        pa.field(FINGERPRINT, pa.string(), nullable=False),
        pa.field(CHANGED_AT, pa.timestamp("us", tz="UTC")),
        pa.field(PAGE, pa.string()),
    ]
)
"""What is mapped: `page` is canonical JSON."""


class PageMapper:
    """Maps batches with a column `note`, a note's JSON.

    Args:
        page_of: a note → its page; KeyError, TypeError, ValueError or AttributeError for what is no note.
        max_file_bytes: the largest file that is uploaded.
    """

    def __init__(self, page_of: Callable[..., Mapping[str, Any]], *, max_file_bytes: int) -> None:
        self._page_of, self._most = page_of, max_file_bytes

    def map(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, list[Rejection]]:
        """The pages, and the notes that are none, each with why."""
        rows, rejected = [], []
        for row in batch.to_pylist():
            found = self._page(row)
            if isinstance(found, Rejection):
                rejected.append(found)
            else:
                rows.append({KEY: row[KEY], FINGERPRINT: row[FINGERPRINT], CHANGED_AT: row[CHANGED_AT], PAGE: found})
        return pa.RecordBatch.from_pylist(rows, schema=SCHEMA), rejected

    def _page(self, row: Mapping[str, Any]) -> str | Rejection:
        if row.get(PROBLEM):
            return Rejection(key=row[KEY], reason=row[PROBLEM], stage="read")
        try:
            page = self._page_of(json.loads(row["note"]), max_file_bytes=self._most)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reason = f"the note cannot be made a page: {type(error).__name__} ({error})"
            return Rejection(key=row[KEY], reason=reason, stage="map")
        return canonical(page)


def canonical(page: Mapping[str, Any]) -> str:
    """The canonical JSON of a page: equal pages have equal texts."""
    return json.dumps(page, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
