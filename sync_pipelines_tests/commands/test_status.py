"""What `status` says of a table, for people."""

from __future__ import annotations

from sync_pipelines.commands.status import _of


def test_a_sentence_names_its_table_once():
    assert _of("shop/article", "the last sync failed") == "shop/article: the last sync failed"
    assert _of("shop/article", "shop/article: Chroma does not answer.") == "shop/article: Chroma does not answer."
