"""Keys that people name, as the table spells them."""

from __future__ import annotations

import pytest

from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.engine.keys import NamedKey, as_postgres
from sync_pipelines.sources.postgres.source import PostgresSource
from sync_pipelines_tests.sources.helpers import Connection, spec_of


def source(url: str, *key: str, **changes) -> PostgresSource:
    return PostgresSource(url, spec_of(key=key, columns=(), **changes))


def test_a_key_is_found_however_its_value_is_written(url: str, db: Connection) -> None:
    db.run("CREATE TABLE item (id int PRIMARY KEY)", "INSERT INTO item VALUES (1)")
    found = source(url, "id").named(["1", "01", " 1 ", "7", "07"])
    assert found["1"] == found["01"] == found[" 1 "] == NamedKey("1", True)
    assert found["7"] == found["07"] == NamedKey("7", False)


def test_a_key_is_spelled_as_the_row_has_it(url: str, db: Connection) -> None:
    db.run(
        "CREATE TABLE item (id numeric(9, 2), at timestamptz, PRIMARY KEY (id, at))",
        "INSERT INTO item VALUES (1, '2026-01-31 09:00+00')",
    )
    found = source(url, "id", "at").named(['["1", "2026-01-31T10:00:00+01:00"]', '["2", "2026-01-31T10:00:00+01:00"]'])
    assert list(found.values()) == [
        NamedKey('["1.00", "2026-01-31 09:00:00+00"]', True),
        NamedKey('["2", "2026-01-31 09:00:00+00"]', False),
    ]


def test_what_postgresql_writes_is_what_we_write(url: str, db: Connection) -> None:
    parts = ["".join(map(chr, range(1, 0x180))), '"\\/ü😀\x7f\u2028']
    db.run("CREATE TABLE item (a text, b text, PRIMARY KEY (a, b))")
    db.run("INSERT INTO item VALUES (%s, %s)", values=parts)
    key = as_postgres(parts)
    assert source(url, "a", "b").named([key])[key] == NamedKey(key, True)


@pytest.mark.parametrize(
    ("key", "wrong"), [(("id",), "abc"), (("id",), "99999999999"), (("id", "kind"), '["1", "nonsense"]')]
)
def test_a_value_of_another_type_is_named_among_a_thousand_good_ones(url, db: Connection, key, wrong) -> None:
    db.run(
        "CREATE TYPE kind AS ENUM ('good')",
        "CREATE TABLE item (id int PRIMARY KEY, kind kind NOT NULL, UNIQUE (id, kind))",
    )
    good = [str(number) if len(key) == 1 else f'["{number}", "good"]' for number in range(1500)]
    with pytest.raises(ConfigurationError, match="shop/item: no key of this table") as caught:
        source(url, *key).named([*good, wrong])
    assert repr(wrong) in str(caught.value)
    assert all(column in str(caught.value) for column in key)


def test_a_sensitive_key_is_not_repeated(url: str, db: Connection) -> None:
    db.run("CREATE TABLE item (id int PRIMARY KEY)")
    with pytest.raises(ConfigurationError, match="sha256:") as caught:
        source(url, "id", sensitive=("id",)).named(["canary"])
    assert "canary" not in str(caught.value)


def test_of_an_inheriting_table_a_key_may_be_twice_and_is_one(url: str, db: Connection) -> None:
    db.run(
        "CREATE TABLE item (id int PRIMARY KEY)",
        "CREATE TABLE more () INHERITS (item)",
        "INSERT INTO item VALUES (1)",
        "INSERT INTO more VALUES (1)",
    )
    assert source(url, "id").named(["01"]) == {"01": NamedKey("1", True)}


def test_a_null_in_a_key_is_no_row_of_it(url: str, db: Connection) -> None:
    db.run("CREATE TABLE item (a int, b int, UNIQUE (a, b))", "INSERT INTO item VALUES (1, NULL)")
    assert source(url, "a", "b").named(['["1", null]']) == {'["1", null]': NamedKey('["1", null]', False)}
