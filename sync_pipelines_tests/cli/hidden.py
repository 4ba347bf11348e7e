"""The shop with sensitive columns, and an embedding function that quotes what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from chromadb import EmbeddingFunction
from chromadb.utils.embedding_functions import register_embedding_function

from sync_pipelines_tests.cli.shop import Shop
from sync_pipelines_tests.dagster.project import article, definitions

KEY, BODY, PRICE = (
    "anna@private.example",
    "the diagnosis of Anna Private is no concern of anybody",
    "0.98765432109876543",
)


class QuotedError(Exception):
    """A provider's refusal of one text."""

    status_code = 400


@register_embedding_function
class Quoting(EmbeddingFunction):
    """Refuses a text that speaks of POISON, and quotes the beginning of it."""

    def __init__(self) -> None:
        pass

    def __call__(self, input: list[str]) -> list[Any]:
        for text in input:
            if "POISON" in text:
                raise QuotedError(f"this text cannot be embedded: '{text[:60]}…'")
        return [np.ones(8, dtype=np.float32) * (len(text) % 7 + 1) for text in input]

    def embed_query(self, input: list[str]) -> list[Any]:
        return self(input)

    @staticmethod
    def name() -> str:
        return "quoting"

    def get_config(self) -> dict[str, Any]:
        return {}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> Quoting:
        return Quoting()

    def default_space(self) -> str:
        return "cosine"


def loaded() -> tuple[Any, Any]:
    """What `sync_pipelines.definitions.load` gives: articles whose key, text and price are nobody's business."""
    component = article(
        text=["body"],
        metadata=["stock", "price"],
        embedding={"name": "quoting"},
        sensitive=["id", "body", "price"],
    )
    return definitions(component), (component,)


def put(shop: Shop, key: str, *, body: str = "a body", price: str | None = None) -> None:
    """Insert or change an article."""
    shop.execute(
        """INSERT INTO "Article" (id, body, stock, price) VALUES (%s, %s, 1, %s) ON CONFLICT (id) DO UPDATE SET
        body = excluded.body, price = excluded.price, "updatedAt" = now() AT TIME ZONE 'UTC'""",
        key,
        body,
        price,
    )


def leaks(folder: Path, words: tuple[str, ...] = (KEY, BODY[:20], PRICE[:10])) -> Iterator[str]:
    """The files below a folder that hold one of these words."""
    for path in (path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        yield from (f"{word!r} in {path.name}" for word in words if word.encode() in content)


TOLD = """
SELECT string_agg(told, ' ') FROM (
    SELECT concat_ws(' ', reason, stage) AS told FROM sync.sync_quarantine
    UNION ALL SELECT concat_ws(' ', reason, event) FROM sync.sync_record_events
    UNION ALL SELECT concat_ws(' ', sample, reasons, error) FROM sync.reconciliation_runs
    UNION ALL SELECT reason FROM sync.reconciliation_keys
    UNION ALL SELECT concat_ws(' ', error_message, reason) FROM sync.sync_logs
    UNION ALL SELECT error_message FROM sync.sync_metadata) AS all_of_it
"""
"""Whatever the ledger tells of records, their keys aside, which it needs."""
