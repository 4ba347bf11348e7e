"""Batches of notes → batches of pages, by a function that makes one page."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from sync_pipelines.engine.model import CHANGED_AT, FINGERPRINT, KEY, PROBLEM, Rejection
from sync_pipelines.targets.notion.text import visible

PAGE, TOLD = "page", "told"
SCHEMA = pa.schema(
    [
        pa.field(KEY, pa.string(), nullable=False),
        pa.field(FINGERPRINT, pa.string(), nullable=False),
        pa.field(CHANGED_AT, pa.timestamp("us", tz="UTC")),
        pa.field(PAGE, pa.string()),
        pa.field(TOLD, pa.string()),
    ]
)
"""What is mapped: `page` is canonical JSON; `told` says which files are too large to be uploaded."""


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
                page, told = found
                system = {name: row[name] for name in (KEY, FINGERPRINT, CHANGED_AT)}
                rows.append({**system, PAGE: page, TOLD: told})
        return pa.RecordBatch.from_pylist(rows, schema=SCHEMA), rejected

    def _page(self, row: Mapping[str, Any]) -> tuple[str, str | None] | Rejection:
        if row.get(PROBLEM):
            return Rejection(key=row[KEY], reason=row[PROBLEM], stage="read")
        try:
            note = json.loads(row["note"])
            page, told = self._page_of(note, max_file_bytes=self._most), self._too_large(note)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reason = f"the note cannot be made a page: {type(error).__name__} ({error})"
            return Rejection(key=row[KEY], reason=reason, stage="map")
        return canonical(page), told

    def _too_large(self, note: Mapping[str, Any]) -> str | None:
        return together(
            not_uploaded(file["name"], f"it has {file['size'] / 2**20:.1f} MiB, of {self._most / 2**20:g} at most")
            for file in note["attachments"]
            if file["size"] > self._most
        )


_BETWEEN, _WITHIN = "; ", ";\u00a0"


def not_uploaded(name: str, why: str) -> str:
    """What a person is told of a file; whatever it is called, this is one sentence where several are put together."""
    return f"{visible(name)} was not uploaded: {why}".replace(_BETWEEN, _WITHIN)


def together(sentences: Iterable[str]) -> str | None:
    """Several of them, each once; None where there are none."""
    return _BETWEEN.join(sorted(set(sentences))) or None


def of_these(told: str | None, names: Sequence[str]) -> list[str]:
    """The sentences that speak of files of these names."""
    starts = tuple(not_uploaded(name, "") for name in names)
    return [sentence for sentence in (told or "").split(_BETWEEN) if sentence.startswith(starts)]


def canonical(page: Mapping[str, Any]) -> str:
    """The canonical JSON of a page: equal pages have equal texts."""
    return json.dumps(page, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
