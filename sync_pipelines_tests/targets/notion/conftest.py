"""A user's database in the stand-in of Notion, and a target of it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import pyarrow as pa
import pytest

from sync_pipelines.defs.notes.page import MAX_FILE_BYTES, page_of
from sync_pipelines.engine.conflicts import Strategy
from sync_pipelines.engine.ledger.ledger import Ledger
from sync_pipelines.engine.limiter import LocalRate
from sync_pipelines.engine.model import FINGERPRINT, KEY, SYSTEM_FIELDS, BatchResult
from sync_pipelines.sandbox.notion.control import WorkspaceControl
from sync_pipelines.targets.notion.mapping import PageMapper, canonical
from sync_pipelines.targets.notion.settings import NotionSettings
from sync_pipelines.targets.notion.target import NotionTarget
from sync_pipelines.targets.retries import RetryPolicy

NOTES = pa.schema([*SYSTEM_FIELDS, pa.field("note", pa.string())])
READS = ("data_sources.query", "data_sources.retrieve", "users.me")


def note(key: str = "1", text: str | None = "one\ntwo\nthree", **more: Any) -> dict[str, Any]:
    """A note as the source gives it."""
    usual = {
        "id": key,
        "title": f"Note {key}",
        "text": text,
        "items": None,
        "labels": ["home"],
        "color": "RED",
        "pinned": False,
        "archived": False,
        "trashed": False,
        "links": [],
        "attachments": [],
        "sharees": [],
        "created": "2023-08-01T14:29:43.842000+00:00",
        "edited": None,
    }
    return {**usual, **more}


def attachment(name: str, content: bytes, mime: str = "image/png") -> dict[str, Any]:
    """A file of a note."""
    return {"name": name, "mime": mime, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def batch_of(*notes: Mapping[str, Any]) -> pa.RecordBatch:
    """Notes as the target is given them."""
    rows = [
        {
            KEY: item["id"],
            FINGERPRINT: hashlib.md5(repr(sorted(item.items())).encode()).hexdigest(),
            "note": canonical(item),
        }
        for item in notes
    ]
    mapped, rejected = PageMapper(page_of, max_file_bytes=MAX_FILE_BYTES).map(
        pa.RecordBatch.from_pylist(rows, schema=NOTES)
    )
    assert not rejected
    return mapped


@dataclass
class Desk:
    """A user's database, the person's hands in it, and a target."""

    hands: WorkspaceControl
    target: NotionTarget
    ledger: Ledger
    make: Callable[..., NotionTarget]
    files: dict[str, bytes] = field(default_factory=dict)

    def bring(self, *notes: Mapping[str, Any], **how: Any) -> BatchResult:
        """Upsert; what became of it, in sum."""
        return summed(list(self.target.upsert([batch_of(*notes)], **how)))

    def later(self, seconds: float = 61) -> None:
        """A later minute."""
        self.hands.advance(seconds)

    def requests(self) -> list[str]:
        """The endpoints that were asked since `forget`."""
        return [item["endpoint"] for item in self.hands.requests()]

    def writes(self) -> list[str]:
        """Those of them that write."""
        return [name for name in self.requests() if name not in READS and "list" not in name and "retrieve" not in name]

    def forget(self) -> None:
        self.hands.clear_requests()

    def pages(self) -> list[dict[str, Any]]:
        return self.hands.pages(self.target.source_id)

    def page(self) -> str:
        """The id of the only page."""
        (found,) = self.pages()
        return found["id"]

    def outline(self, page: str | None = None) -> list[dict[str, Any]]:
        return self.hands.outline(page or self.page())

    def texts(self, page: str | None = None) -> list[str]:
        return [item.get("text", "") for item in self.outline(page)]

    def prints(self) -> dict[str, str]:
        rows = [row for batch in self.target.fingerprints() for row in batch.to_pylist()]
        assert len({row[KEY] for row in rows}) == len(rows)
        return {row[KEY]: row[FINGERPRINT] for row in rows}

    def holds(self, *notes: Mapping[str, Any]) -> bool:
        """Whether the pages of these notes are, value by value, what the mapper makes of them."""
        keys = [item["id"] for item in notes]
        found = {row[KEY]: row["page"] for batch in self.target.values(keys) for row in batch.to_pylist()}
        return found == {item["id"]: canonical(page_of(item)) for item in notes}


def summed(results: Sequence[BatchResult]) -> BatchResult:
    """Several results as one."""
    counts = results[0].counts.__class__()
    kept: dict[str, str] = {}
    for item in results:
        counts += item.counts
        kept.update(item.kept)
    rejected = [one for item in results for one in item.rejected]
    disputes = [one for item in results for one in item.disputes]
    return BatchResult(counts=counts, rejected=rejected, kept=kept, disputes=disputes)


@pytest.fixture
def desk(notion_workspace: WorkspaceControl, house_url: str) -> Iterator[Desk]:
    """An empty database that the sync has made."""
    ledger = Ledger(house_url)
    made: list[NotionTarget] = []
    files: dict[str, bytes] = {}

    @contextmanager
    def opened(key: str, name: str) -> Iterator[BinaryIO]:
        yield io.BytesIO(files[name])

    def make(strategy: Strategy = Strategy.MANUAL_REVIEW, **more: Any) -> NotionTarget:
        usual: dict[str, Any] = {"user": "ann", "token": notion_workspace.token, "base_url": notion_workspace.url}
        usual |= {"parent_page": notion_workspace.page, "rate_limit": 10_000.0, "timeout": 2.0}
        usual["retry"] = RetryPolicy(attempts=4, sleep=lambda _: None)
        settings = NotionSettings(**(usual | more))
        target = NotionTarget(
            settings=settings,
            sync="notes",
            table="pages:ann",
            ledger=ledger,
            rate=LocalRate(),
            strategy=strategy,
            open_attachment=opened,
        )
        made.append(target)
        return target

    target = make()
    target.prepare()
    target.notion.us  # noqa: B018 - asked once a process
    notion_workspace.clear_requests()
    yield Desk(notion_workspace, target, ledger, make, files)
    for item in made:
        item.close()
    ledger.dispose()
