"""A table that is in the middle of its life: records that are synced, and then every kind of change at once."""

from __future__ import annotations

from typing import Any

from sync_pipelines_tests.dagster.project import article
from sync_pipelines_tests.dagster.world import World
from sync_pipelines_tests.faults.child import PROJECT
from sync_pipelines_tests.faults.equality import items

# No two records share a text, so that every embedding can be told apart; nor are they all alike but for one word:
# HNSW loses sight of some of the vectors that are all equally far from each other, and a deep proof says so.
_WORDS = """(SELECT string_agg(left(md5({key} || i), 4), ' ') FROM generate_series(1, {number}) i)"""
_TITLE = """jsonb_build_object('en', 'title of ' || {key})"""


def words(key: str, number: int = 8) -> str:
    """SQL for so many words that no other key has, of four letters each."""
    return _WORDS.format(key=key, number=number)


def _short(key: str) -> str:
    return words(key, 4)


def _long(key: str) -> str:
    return words(key, 60)


def filled(world: World, **changed: Any) -> World:
    """Forty synced articles, half of them in several chunks; `changed` as in `article`."""
    world.component = article(**PROJECT, **changed)
    key = "'k' || lpad(n::text, 2, '0')"
    world.execute(
        f"""INSERT INTO "Article" SELECT {key}, {_TITLE.format(key=key)},
        CASE WHEN n % 2 = 0 THEN {_short(key)} ELSE {_long(key)} END, 1 FROM generate_series(0, 39) n"""
    )
    world.sync()
    return world


def change(world: World) -> None:
    """Texts and fields change, among them long ones that become short; rows come and go."""
    world.execute(
        f"""UPDATE "Article" SET body = CASE WHEN length(body) < 20 THEN 'now long: ' || {_long("id")}
        ELSE 'now short: ' || {_short("id")} END WHERE id < 'k14'"""
    )
    world.execute("""UPDATE "Article" SET stock = 2 WHERE id BETWEEN 'k14' AND 'k19'""")
    world.execute("""DELETE FROM "Article" WHERE id > 'k33'""")
    key = "'n' || n"
    world.execute(
        f"""INSERT INTO "Article" SELECT {key}, {_TITLE.format(key=key)}, {_long(key)}, 1
        FROM generate_series(0, 9) n"""
    )


def texts(collection: Any) -> set[tuple[str, str]]:
    """What is stored: key and text of every chunk."""
    return {(metadata["sync_key"], document) for _, document, metadata, _ in items(collection)}
