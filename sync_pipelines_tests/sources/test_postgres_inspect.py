"""What the catalog says of a table, and how a wrong name is answered."""

from __future__ import annotations

from typing import Any

import pytest

from sync_pipelines.engine.errors import RunError
from sync_pipelines.sources.postgres.source import PostgresSource
from sync_pipelines_tests.sources.helpers import ITEM, Connection, make_item, spec_of


def test_columns_key_and_comments_come_from_the_catalog(url: str, db: Connection) -> None:
    make_item(db)
    db.run("COMMENT ON TABLE item IS 'What is sold'", "COMMENT ON COLUMN item.amount IS 'How many'")
    info = PostgresSource(url, ITEM).inspect()
    assert (info.schema, info.table, info.comment) == ("public", "item", "What is sold")
    assert [(c.name, c.pg_type, c.nullable) for c in info.columns] == [
        ("id", "integer", False),
        ("name", "text", True),
        ("amount", "integer", True),
        ("changed", "timestamp with time zone", True),
    ]
    assert info.column("amount").comment == "How many"
    assert [column.name for column in info.key] == ["id"]
    assert info.leaves == ()


def test_the_identity_is_the_servers_and_the_tables(url: str, db: Connection) -> None:
    make_item(db)
    found = PostgresSource(url, ITEM).identity()
    assert found.system_identifier == db.one("SELECT system_identifier::text FROM pg_control_system()")
    assert found.table_oid == db.one("SELECT 'item'::regclass::oid::int8")
    assert (found.timeline, found.database) == (1, url.rpartition("/")[2])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"table": "itme"}, "no table 'itme' in the connection's search_path. Did you mean 'item'?"),
        ({"table": "ITEM"}, "Did you mean 'item'?"),
        ({"table": "zzz"}, "Check source.table and the connection."),
        ({"schema": "shop"}, "no table 'item' in schema 'shop'. There is one in schema 'public'"),
        ({"table": "public.item"}, "set source.schema_name to 'public' and source.table to 'item'"),
        ({"columns": ("nmae",)}, "no column 'nmae'. Did you mean 'name'?"),
        ({"columns": ("Name",)}, "Did you mean 'name'?"),
        ({"columns": ("qqqq",)}, "There are: amount, changed, id, name."),
        ({"key": ("name",)}, "no unique index covers exactly the key (name)"),
        ({"key": ("id", "name")}, "no unique index covers exactly the key (id, name)"),
        ({"changed_at": "amount"}, "column 'amount' of type integer, which is no time"),
        ({"table": "item_view"}, "is a view"),
    ],
)
def test_a_wrong_name_gets_one_sentence_with_the_nearest_right_one(
    url: str, db: Connection, changes: dict[str, Any], words: str
) -> None:
    make_item(db)
    db.run("CREATE VIEW item_view AS SELECT * FROM item")
    with pytest.raises(RunError) as caught:
        PostgresSource(url, spec_of(**changes)).inspect()
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("index", "good"),
    [
        ("UNIQUE INDEX ON loose (a)", True),
        ("UNIQUE INDEX ON loose (a) INCLUDE (b)", True),
        ("INDEX ON loose (a)", False),
        ("UNIQUE INDEX ON loose (a) WHERE b > 0", False),
        ("UNIQUE INDEX ON loose ((a + 1))", False),
        ("UNIQUE INDEX ON loose (a, b)", False),
    ],
)
def test_only_a_whole_unique_index_makes_a_key(url: str, db: Connection, index: str, good: bool) -> None:
    db.run("CREATE TABLE loose (a int, b int)", f"CREATE {index}")
    source = PostgresSource(url, spec_of(table="loose", key=("a",), columns=("b",)))
    if good:
        assert source.inspect().key[0].equality == 'OPERATOR("pg_catalog".=)'
        return
    with pytest.raises(RunError, match="no unique index"):
        source.inspect()


def test_the_schema_comes_from_the_spec_then_the_url_then_the_search_path(url: str, db: Connection) -> None:
    for schema in ("one", "two", "three"):
        db.run(f"CREATE SCHEMA {schema}", f"CREATE TABLE {schema}.item (id int PRIMARY KEY, name text, amount int)")
    path = "?options=-csearch_path%3Dthree%2Cpublic"
    assert PostgresSource(url + path, ITEM).inspect().schema == "three"
    assert PostgresSource(f"{url}{path}&schema=two", ITEM).inspect().schema == "two"
    assert PostgresSource(f"{url}{path}&schema=two", spec_of(schema="one")).inspect().schema == "one"


def test_the_key_keeps_the_order_of_the_spec(url: str, db: Connection) -> None:
    db.run("CREATE TABLE pair (a int, b text, PRIMARY KEY (a, b))", "INSERT INTO pair VALUES (1, 'x')")
    source = PostgresSource(url, spec_of(table="pair", key=("b", "a"), columns=()))
    (batch,) = source.values(['["x", "1"]'])
    assert batch.num_rows == 1
