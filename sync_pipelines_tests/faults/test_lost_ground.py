"""A watermark that means nothing any more: a restored database, another key, a table that is gone."""

from __future__ import annotations

import pytest

from sync_pipelines_tests.dagster.project import article
from sync_pipelines_tests.dagster.world import World
from sync_pipelines_tests.faults.equality import assert_equal

SET = "UPDATE sync.sync_watermarks SET watermark = jsonb_set(watermark, %s, to_jsonb(%s::text))"


@pytest.fixture
def shop(world: World) -> World:
    """Three synced articles, of which the target then loses one: only a comparison of everything finds that."""
    for key in "abc":
        world.put(key)
    world.sync()
    world.collection.delete(ids=["b"])
    assert world.sync().read == 0
    return world


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        pytest.param(
            "{source,system_identifier}",
            "7000000000000000001",
            "another server",
            id="server",
            marks=pytest.mark.exhaustive,
        ),
        pytest.param("{source,database}", "last_week", "another one", id="database", marks=pytest.mark.slow),
        pytest.param(
            "{position,snapshot}", "99999999999:99999999999:", "ahead", id="from the future", marks=pytest.mark.slow
        ),
    ],
)
def test_a_watermark_of_another_database_is_followed_by_a_full_comparison(
    shop: World, path: str, value: str, reason: str
):
    shop.execute(SET, path, value)
    assert (shop.sync().upserted, shop.last_run().counts.unchanged) == (1, 2)
    assert reason in shop.last_run().reason
    assert_equal(shop)
    assert shop.sync().read == 0


@pytest.mark.slow
def test_a_table_that_was_dropped_and_made_anew_is_compared_as_a_whole(shop: World):
    shop.execute("""CREATE TABLE kept AS SELECT * FROM "Article" WHERE id <> 'c'""")
    shop.execute("""DROP TABLE "Article" """)
    shop.execute("""ALTER TABLE kept RENAME TO "Article" """)
    shop.execute("""ALTER TABLE "Article" ADD PRIMARY KEY (id)""")
    assert "capture install" in shop.failure(shop.materialize(raises=False))
    shop.install()
    counts = shop.sync()
    assert (counts.upserted, counts.unchanged, counts.deleted) == (1, 1, 1)
    assert_equal(shop)


def test_a_table_that_is_gone_fails_with_its_name_and_touches_nothing(shop: World):
    shop.execute("""ALTER TABLE "Article" RENAME TO "Articles" """)
    before = shop.watermark()
    for mode in ("incremental", "full", "rebuild"):
        result = shop.materialize(mode=mode, raises=False)
        assert not result.success
        assert "there is no table 'Article'" in shop.failure(result)
        assert "Did you mean 'Articles'?" in shop.failure(result)
    assert set(shop.stored()) == {"a", "c"}
    assert shop.watermark() == before
    assert shop.last_run().status == "failed"
    shop.execute("""ALTER TABLE "Articles" RENAME TO "Article" """)
    shop.sync(mode="full")
    assert_equal(shop)


@pytest.mark.slow
def test_a_column_that_is_gone_fails_with_its_name(shop: World):
    shop.execute("""ALTER TABLE "Article" RENAME COLUMN body TO bodies""")
    error = shop.failure(shop.materialize(raises=False))
    assert "has no column 'body'" in error
    assert "Did you mean 'bodies'?" in error


@pytest.mark.slow
def test_another_key_in_the_document_names_every_record_anew(shop: World):
    shop.execute("""ALTER TABLE "Article" ADD slug text NOT NULL UNIQUE GENERATED ALWAYS AS ('the-' || id) STORED""")
    source = {**article().source.model_dump(exclude_none=True), "key": ["slug"]}
    shop.component = article(source=source)
    assert "capture install" in shop.failure(shop.materialize(raises=False))
    shop.install()
    counts = shop.sync()
    assert (counts.upserted, counts.deleted) == (3, 2)
    assert "the key changed from (id) to (slug)" in shop.last_run().reason
    assert set(shop.stored()) == {"the-a", "the-b", "the-c"}
    assert shop.prove().equal
    shop.put("a", body="changed")
    assert shop.sync().upserted == 1
    assert shop.stored()["the-a"] == "a title\n\nchanged"


@pytest.mark.slow
def test_a_column_that_joins_the_metadata_reaches_every_record_without_embedding(shop: World):
    shop.sync(mode="full")
    shop.execute("""ALTER TABLE "Article" ADD author text DEFAULT 'somebody'""")
    shop.component = article(metadata=["stock", "author"])
    counts = shop.sync()
    assert (counts.metadata_only, counts.embedded_texts) == (3, 0)
    assert shop.metadata("a")["author"] == "somebody"
    assert shop.prove().equal
