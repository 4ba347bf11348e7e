"""The demo of `knowledge`: KnowledgeReference and JourneyTemplate become searchable, and stay equal."""

from __future__ import annotations

import json
from typing import Any

from rich.table import Table

from sync_pipelines.sandbox.story import DemoFailedError, Story

REFERENCE, JOURNEY = "knowledge/knowledge_reference", "knowledge/journey_template"
NEW = ("demo_coral", "demo_bamboo")
ENGLISH = ("How do coral reefs protect a coast from storms?", "demo_coral")
ARABIC = ("كيف يساعد الخيزران على تثبيت التربة؟", "demo_bamboo")

_INSERT = """
INSERT INTO "KnowledgeReference" (id, title, content, "arabicText", category, tags, source, "updatedAt")
VALUES (%s, %s, %s, NULL, 'nature', %s, 'demo', now() AT TIME ZONE 'UTC')
"""
_CORAL = (
    {"en": "Coral reefs as breakwaters", "id": "Terumbu karang sebagai pemecah gelombang"},
    {
        "en": "A healthy coral reef breaks most of a wave's energy before it meets the shore. "
        "Coasts behind living reefs suffer less from storms and lose less sand.",
        "id": "Terumbu karang yang sehat meredam sebagian besar energi gelombang sebelum sampai ke pantai.",
    },
)
_BAMBOO = (
    {"en": "Bamboo against erosion", "ar": "الخيزران وتثبيت التربة"},
    {
        "en": "Bamboo roots form a dense net that holds the soil of slopes and river banks.",
        "ar": "تكوّن جذور الخيزران شبكة كثيفة تمسك تربة المنحدرات وضفاف الأنهار وتمنع انجرافها.",
    },
)


def tell(story: Story) -> None:
    """Full sync, changes and an incremental sync, one single record, and a search in two languages."""
    story.tell("knowledge: PostgreSQL → Chroma")
    for path in (REFERENCE, JOURNEY):
        story.sync("full sync", path, full=True)
    changed = _change_the_application()
    _show_incremental(story, changed)
    _show_single_record(story)
    _show_unchanged(story)
    _show_search(story)


def execute(statements: list[tuple[str, tuple[Any, ...]]], *, connection: str = "knowledge") -> list[int]:
    """Run statements in one transaction on a sync's database; the rows that each has touched."""
    from sync_pipelines.engine.database import connect
    from sync_pipelines.resources.environment import database_url

    opened = connect(database_url(connection), "sync_pipelines demo")
    try:
        with opened, opened.cursor() as cursor:
            counts = []
            for statement, values in statements:
                cursor.execute(statement, values)
                counts.append(cursor.rowcount)
            return counts
    finally:
        opened.close()


def _insert(key: str, texts: tuple[dict[str, str], dict[str, str]], tag: str) -> tuple[str, tuple[Any, ...]]:
    title, content = (json.dumps(text, ensure_ascii=False) for text in texts)
    return _INSERT, (key, title, content, [tag])


def _change_the_application() -> dict[str, int]:
    """Two rows come, one text and five other fields change, three rows go; how many of each."""
    counts = execute(
        [
            _insert(NEW[0], _CORAL, "ocean"),
            _insert(NEW[1], _BAMBOO, "soil"),
            (
                """UPDATE "KnowledgeReference" SET content = content || '{"en": "Rewritten for the demo."}'
                WHERE id = (SELECT min(id) FROM "KnowledgeReference" WHERE id NOT LIKE 'demo%%')""",
                (),
            ),
            (
                """UPDATE "JourneyTemplate" SET "matchCount" = "matchCount" + 1
                WHERE id IN (SELECT id FROM "JourneyTemplate" ORDER BY id LIMIT 5)""",
                (),
            ),
            (
                """DELETE FROM "KnowledgeReference" WHERE id IN
                (SELECT id FROM "KnowledgeReference" WHERE id NOT LIKE 'demo%%' ORDER BY id DESC LIMIT 3)""",
                (),
            ),
        ]
    )
    return {"inserted": counts[0] + counts[1], "rewritten": counts[2], "counted": counts[3], "deleted": counts[4]}


def _show_incremental(story: Story, changed: dict[str, int]) -> None:
    reference = story.sync("incremental", REFERENCE)
    touched = changed["inserted"] + changed["rewritten"]
    story.expect("records read", reference.counts.read, touched)
    story.expect("records upserted", reference.counts.upserted, touched)
    story.expect("records deleted", reference.counts.deleted, changed["deleted"])
    journey = story.sync("incremental", JOURNEY)
    story.expect("metadata updates", journey.counts.metadata_only, changed["counted"])
    story.expect("texts embedded where no text changed", journey.counts.embedded_texts, 0)


def _show_single_record(story: Story) -> None:
    execute([("""UPDATE "KnowledgeReference" SET category = 'ocean' WHERE id = %s""", (NEW[0],))])
    line = story.sync("one record", REFERENCE, keys=[NEW[0]])
    story.expect("records read", line.counts.read, 1)


def _show_unchanged(story: Story) -> None:
    line = story.sync("full again", REFERENCE, full=True)
    story.expect("texts embedded when nothing changed", line.counts.embedded_texts, 0)
    story.expect("records written when nothing changed", line.counts.upserted + line.counts.metadata_only, 0)


def _show_search(story: Story) -> None:
    from sync_pipelines.api import search

    table = Table(title="search knowledge")
    for name in ("words", "best record", "score", "text"):
        table.add_column(name)
    for words, wanted in (ENGLISH, ARABIC):
        hits = search(words, limit=3)
        if not hits:
            raise DemoFailedError(f"the search for {words!r} found nothing")
        best = hits[0]
        table.add_row(words, best.key, f"{best.score:.3f}", best.text[:60].replace("\n", " "))
        story.expect(f"the best record for {words!r}", best.key, wanted)
    story.console.print(table)
