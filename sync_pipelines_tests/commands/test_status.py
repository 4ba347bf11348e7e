"""What `status` says of a table, for people."""

from __future__ import annotations

from sync_pipelines.commands.status import sentences
from sync_pipelines.status import TableStatus

AWAY = "Chroma does not answer."


def test_a_sentence_names_its_table_once():
    found = TableStatus(configured=True, problems=("the last sync failed",), last_error=f"shop/article: {AWAY}")
    assert sentences({"shop/article": found}) == [
        ("shop/article: the last sync failed", "red"),
        (f"shop/article: {AWAY}", "red"),
    ]


def test_what_holds_for_several_tables_is_said_once_with_their_names():
    away = TableStatus(configured=True, problems=(AWAY,), last_error=AWAY)
    named = TableStatus(configured=True, problems=(f"shop/order: {AWAY}",), warnings=("2 in quarantine",))
    unused = TableStatus(configured=False, reason=AWAY)
    told = sentences({"shop/article": away, "shop/order": named, "shop/page": unused, "shop/price": away})
    assert told == [
        (f"shop/article, shop/order, shop/price: {AWAY}", "red"),
        ("shop/order: 2 in quarantine", "yellow"),
        (f"shop/page: {AWAY}", "dim"),
    ]
