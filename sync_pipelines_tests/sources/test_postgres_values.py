"""Every type arrives by its stated rule, and no value fails a batch."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from sync_pipelines.engine.model import CHANGED_AT, KEY, PROBLEM, Scope
from sync_pipelines.engine.rows import Row, rows
from sync_pipelines.engine.spec import TableSpec
from sync_pipelines.sources.postgres import changes, connection
from sync_pipelines.sources.postgres.capture import install
from sync_pipelines.sources.postgres.source import PostgresSource
from sync_pipelines.targets.postgres.input import read_table
from sync_pipelines_tests.sources.helpers import ITEM, Connection, make_item, reader, spec_of

_TYPES = """
CREATE EXTENSION citext; CREATE EXTENSION hstore;
CREATE TYPE mood AS ENUM ('sad', 'Happy day');
CREATE TYPE pair AS (a int, "B c" text);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE DOMAIN small_positive AS positive CHECK (VALUE < 100);
CREATE DOMAIN tags AS text[];
CREATE DOMAIN moment AS timestamptz;
"""

VALUES: dict[str, tuple[str, str, pa.DataType, Any]] = {
    # name: type, SQL value, Arrow type, Python value
    "i2": ("smallint", "-32768", pa.int64(), -32768),
    "i8": ("bigint", "9223372036854775807", pa.int64(), 2**63 - 1),
    "f4": ("real", "0.5", pa.float64(), 0.5),
    "f8": ("double precision", "0.1", pa.float64(), 0.1),
    "inf": ("double precision", "'-Infinity'", pa.float64(), float("-inf")),
    "yes": ("boolean", "true", pa.bool_(), True),
    "n": ("numeric", "123456789012345678901234567890.10", pa.string(), Decimal("123456789012345678901234567890.10")),
    "n2": ("numeric(10,2)", "1.5", pa.string(), Decimal("1.50")),
    "huge": ("numeric", "1e-300", pa.string(), Decimal("1e-300")),
    "c": ("char(5)", "'ab'", pa.string(), "ab"),
    "v": ("varchar(20)", "'سلام 🌍'", pa.string(), "سلام 🌍"),
    "ts": ("timestamp(3)", "'2024-02-29 23:59:59.999'", None, datetime(2024, 2, 29, 23, 59, 59, 999000, UTC)),
    "tz": ("timestamptz", "'2024-02-29 23:59:59.999999+05'", None, datetime(2024, 2, 29, 18, 59, 59, 999999, UTC)),
    "first": ("timestamp", "'0001-01-01'", None, datetime(1, 1, 1, tzinfo=UTC)),
    "last": ("timestamp", "'9999-12-31 23:59:59.999999'", None, datetime(9999, 12, 31, 23, 59, 59, 999999, UTC)),
    "day": ("date", "'2024-02-29'", pa.date32(), date(2024, 2, 29)),
    "clock": ("time", "'24:00:00'", pa.string(), "24:00:00"),
    "clockz": ("timetz", "'12:00+05:30'", pa.string(), "12:00:00+05:30"),
    "span": ("interval", "'1 year -2 days 03:04:05.6'", pa.string(), "1 year -2 days +03:04:05.6"),
    "j": ("jsonb", """'{"b": 12345678901234567890123, "a": [1.10, null]}'""", pa.string(), None),
    "raw": ("json", "'[1,  2]'", pa.string(), [1, 2]),
    "t": ("text[]", """ARRAY['a', NULL, 'b "c", d']""", pa.string(), ["a", None, 'b "c", d']),
    "grid": ("int[]", "'{{1,2},{3,4}}'", pa.string(), [[1, 2], [3, 4]]),
    "nn": ("numeric(20,3)[]", "'{1.5,NaN}'", pa.string(), None),
    "ff": ("float8[]", "'{0.1,Infinity}'", pa.string(), [0.1, float("inf")]),
    "jj": ("jsonb[]", """ARRAY['{"a": 1}'::jsonb]""", pa.string(), [{"a": 1}]),
    "moods": ("mood[]", "'{sad}'", pa.string(), ["sad"]),
    "tt": ("timestamptz[]", "'{2024-01-01 00:00+00}'", pa.string(), ["2024-01-01T00:00:00+00:00"]),
    "bytes": ("bytea", "'\\x00ff'::bytea", pa.string(), "00ff"),
    "u": ("uuid", "'00000000-0000-0000-0000-000000000001'", pa.string(), "00000000-0000-0000-0000-000000000001"),
    "m": ("mood", "'Happy day'", pa.string(), "Happy day"),
    "p": ("pair", "ROW(1, 'x, y')", pa.string(), '(1,"x, y")'),
    "d": ("small_positive", "7", pa.int64(), 7),
    "dt": ("tags", "ARRAY['x']", pa.string(), ["x"]),
    "dm": ("moment", "'2024-01-01 00:00+00'", None, datetime(2024, 1, 1, tzinfo=UTC)),
    "r": ("int4range", "'[1,5)'", pa.string(), "[1,5)"),
    "mr": ("nummultirange", "'{[1,2),[3,4)}'", pa.string(), "{[1,2),[3,4)}"),
    "ip": ("inet", "'10.0.0.1/8'", pa.string(), "10.0.0.1/8"),
    "mac": ("macaddr", "'08:00:2b:01:02:03'", pa.string(), "08:00:2b:01:02:03"),
    "b": ("bit(3)", "B'101'", pa.string(), "101"),
    "cash": ("money", "1234.5", pa.string(), "$1,234.50"),
    "search": ("tsvector", "'a fat cat'", pa.string(), "'a' 'cat' 'fat'"),
    "pt": ("point", "'(1,2)'", pa.string(), "(1,2)"),
    "o": ("oid", "4294967295", pa.string(), "4294967295"),
    "rc": ("regclass", "'pg_class'", pa.string(), "pg_class"),
    "ci": ("citext", "'ABC'", pa.string(), "ABC"),
    "h": ("hstore", "'a=>1'", pa.string(), '"a"=>"1"'),
    "jp": ("jsonpath", "'$.a'", pa.string(), '$."a"'),
    "lsn": ("pg_lsn", "'0/10'", pa.string(), "0/10"),
    "xid": ("xid8", "'5'", pa.string(), "5"),
    "iv": ("int2vector", "'1 2'", pa.string(), "1 2"),
}


@pytest.fixture
def all_types(url: str, db: Connection) -> TableSpec:
    """A table with one column of each type: row 1 holds values, row 2 only NULLs."""
    db.run(_TYPES)
    columns = ", ".join(f'"{name}" {kind[0]}' for name, kind in VALUES.items())
    values = ", ".join(kind[1] for kind in VALUES.values())
    db.run(f"CREATE TABLE kinds (id int PRIMARY KEY, {columns})", f"INSERT INTO kinds VALUES (1, {values})")
    db.run("INSERT INTO kinds VALUES (2)")
    return spec_of(name="kinds", table="kinds", columns=tuple(VALUES))


def _rows(source: PostgresSource, scope: Scope) -> tuple[list[Row], list[pa.RecordBatch]]:
    with source.changes(scope, since=None) as changes:
        batches = list(changes.upserts)
    return sorted((row for batch in batches for row in rows(batch)), key=lambda row: row.key), batches


def test_every_type_arrives_as_stated(url: str, db: Connection, all_types: TableSpec) -> None:
    (full, empty), batches = _rows(reader(url, all_types).source, Scope(full=True))
    types = dict(
        db.all("SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'kinds'::regclass")
    )
    for name, (_, _, arrow, value) in VALUES.items():
        field = batches[0].schema.field(name)
        assert field.type == (arrow or pa.timestamp("us", "UTC")), name
        assert field.metadata[b"pg_type"].decode().removeprefix("public.") == types[name], name
        if value is not None:
            assert full.values[name] == value, name
        assert empty.values[name] is None, name
    assert (full.problem, empty.problem) == (None, None)
    assert full.values["j"] == {"b": 12345678901234567890123, "a": [1.1, None]}
    assert full.values["nn"][0] == Decimal("1.5")
    assert full.values["nn"][1].is_nan()
    assert full.values["ts"].tzinfo is UTC


def test_both_clients_read_the_same(url: str, all_types: TableSpec) -> None:
    source = reader(url, all_types).source
    _, (bulk,) = _rows(source, Scope(full=True))
    _, (small,) = _rows(source, Scope(keys=("1", "2")))
    assert bulk.sort_by(KEY).equals(small.sort_by(KEY), check_metadata=True)


def test_every_type_that_a_key_can_have_finds_its_row_again(url: str, db: Connection) -> None:
    db.run(_TYPES)
    tried = 0
    for name, (kind, value, _, _) in VALUES.items():
        has_order = db.one(
            "SELECT EXISTS (SELECT FROM pg_opclass c JOIN pg_am a ON a.oid = c.opcmethod WHERE a.amname = 'btree' "
            "AND c.opcdefault AND (c.opcintype = %s::regtype OR c.opcintype = 'anyenum'::regtype "
            "AND %s = 'mood'))",
            (kind, kind),
        )
        if not has_order:
            continue
        db.run(f'CREATE TABLE "by {name}" (k {kind} PRIMARY KEY, note text)')
        db.run(f"INSERT INTO \"by {name}\" VALUES ({value}, 'old')")
        source = PostgresSource(url, spec_of(name=name, table=f"by {name}", key=("k",), columns=("note",)))
        key = db.one(f'SELECT k::text FROM "by {name}"')
        with source.changes(Scope(keys=(key,)), since=None) as changes:
            assert (changes.rows, list(changes.deletes)) == (1, []), name
            assert [batch.column(KEY).to_pylist() for batch in changes.upserts] == [[key]], name
        tried += 1
    assert tried > 25


def test_a_key_lookup_uses_the_index_of_an_extensions_type(url: str, db: Connection) -> None:
    db.run("CREATE EXTENSION citext", "CREATE TABLE people (name citext PRIMARY KEY, note text)")
    db.run("INSERT INTO people SELECT 'Name ' || g FROM generate_series(1, 20000) AS g", "ANALYZE people")
    spec = spec_of(name="people", table="people", key=("name",), columns=("note",))
    source = reader(url, spec).source
    from sync_pipelines.sources.postgres.sql import TableSql, keys_query

    query = TableSql(source.inspect(), spec).by_keys(keys_query(["Name 7", "name 8"]))
    db.run("SET search_path = pg_catalog")
    plan = "\n".join(line for (line,) in db.all("EXPLAIN " + query))
    assert "people_pkey" in plan, plan
    found = reader(url, spec).sync(Scope(keys=("Name 7", "name 8")))
    assert (found.upserts, found.deletes) == (["Name 7"], ["name 8"])


UNHOLDABLE = ["infinity", "-infinity", "0044-03-15 BC", "10000-01-01", "294276-12-31"]


@pytest.mark.parametrize("kind", ["timestamptz", "timestamp", "date", "moment"])
def test_a_time_that_no_client_can_hold_is_a_problem_of_its_row_alone(url: str, db: Connection, kind: str) -> None:
    db.run("CREATE DOMAIN moment AS timestamptz", f'CREATE TABLE ages (id int PRIMARY KEY, "when % it" {kind})')
    for number, value in enumerate(["2024-01-01", *UNHOLDABLE, "0001-01-01 00:00+00", "9999-12-31 23:59:59+00"]):
        db.run(f"INSERT INTO ages VALUES ({number}, '{value}')")
    spec = spec_of(name="ages", table="ages", columns=("when % it",), changed_at="when % it")
    source = reader(url, spec).source
    for scope in (Scope(full=True), Scope(keys=tuple("01234567"))):
        (good, *bad, first, last), (batch,) = _rows(source, scope)
        assert [row.problem for row in (good, first, last)] == [None] * 3
        assert {row.problem for row in bad} == {"column 'when % it' is infinite, BC or after the year 9999"}
        assert {row.values["when % it"] for row in bad} == {None}
        assert batch.column(CHANGED_AT).to_pylist().count(None) == len(UNHOLDABLE)


def test_nan_and_unparseable_json_fail_no_batch(url: str, db: Connection) -> None:
    db.run("CREATE TABLE odd (id int PRIMARY KEY, n numeric, f float8, j json)")
    db.run(
        "INSERT INTO odd VALUES (1, 'NaN', 'NaN', '{}'), (2, 1, 1, '{\"a\": \"\\u0000\"}'), "
        "(3, 1, 1, '[\"\\ud800\"]'), (4, 1, 1, '{\"\\udc00 x\": 1}'), (5, 1, 1, '\"\\ud83d\\ude00\"')"
    )
    nan, nul, high, low, pair = _rows(
        reader(url, spec_of(name="odd", table="odd", columns=("n", "f", "j"))).source, Scope(full=True)
    )[0]
    assert nan.values["n"].is_nan()
    assert nan.values["f"] != nan.values["f"]
    assert nan.problem is None
    assert nul.problem == "column 'j' holds JSON with a NUL character"
    assert high.problem == low.problem == "column 'j' holds JSON with half of a surrogate pair"
    assert "j" not in high.values
    assert pair.values["j"] == "😀"


HELL = [
    "select",
    'dou"ble',
    "sin'gle",
    "per%cent %s %(x)s",
    "back\\slash",
    "semi;colon -- DROP TABLE x",
    "new\nline",
    "日本語 🌍",
    "مرحبا",
    "{braces} $1 :name",
    "n" * 63,
    "é" * 31,
    "trailing ",
]


@pytest.mark.slow
@pytest.mark.parametrize("name", HELL)
def test_names_and_values_from_hell_go_through(url: str, db: Connection, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    key, column = quoted, '"v' + name[:55].replace('"', '""') + '"'
    db.run(f"CREATE SCHEMA {quoted}")
    db.run(f"CREATE TABLE {quoted}.{quoted} ({key} text PRIMARY KEY, {column} text, at timestamptz DEFAULT now())")
    spec = TableSpec(
        sync="shop", name="hell", schema=name, table=name, key=(name,), columns=("v" + name[:55],), changed_at="at"
    )
    target = reader(url, spec)
    target.sync()
    db.raw.cursor().executemany(
        f"INSERT INTO {quoted}.{quoted} VALUES (%s, %s)".replace(name, name.replace("%", "%%")),
        [(value, value) for value in HELL],
    )
    found = target.sync()
    assert sorted(found.upserts) == sorted(HELL)
    assert all(target.rows[value]["v" + name[:55]] == value for value in HELL)
    assert sorted(key for keys in target.source.pending_keys(target.watermark) for key in keys) == []
    assert target.source.count() == len(HELL)
    with target.source.changes(Scope(keys=tuple(HELL)), since=None) as changes:
        assert (changes.rows, list(changes.deletes)) == (len(HELL), [])
    db.run(f"DELETE FROM {quoted}.{quoted}")
    assert sorted(target.sync().deletes) == sorted(HELL)


def test_the_fingerprint_does_not_depend_on_session_client_or_role_settings(
    url: str, all_types: TableSpec, db: Connection
) -> None:
    target = reader(url, all_types)
    prints = target.sync().fingerprints()
    database = url.rpartition("/")[2]
    for setting in (
        "TimeZone = 'Asia/Tokyo'",
        "DateStyle = 'German, DMY'",
        "IntervalStyle = 'sql_standard'",
        "extra_float_digits = -15",
        "bytea_output = 'escape'",
        "xmlbinary = 'hex'",
        "search_path = 'public'",
    ):
        db.run(f'ALTER DATABASE "{database}" SET {setting}')
    other = PostgresSource(url + "?application_name=other", replace(all_types))
    with other.changes(Scope(full=True), since=None) as changes:
        again = {row[KEY]: row["_fingerprint"] for batch in changes.upserts for row in batch.to_pylist()}
    with other.changes(Scope(keys=("1", "2")), since=None) as changes:
        small = {row[KEY]: row["_fingerprint"] for batch in changes.upserts for row in batch.to_pylist()}
    assert prints == again == small
    assert all(mark.startswith("1:") for mark in prints.values())


def test_a_database_or_role_that_quotes_all_names_is_read_as_any_other(url: str, db: Connection) -> None:
    make_item(db)
    db.run(f'ALTER DATABASE "{url.rpartition("/")[2]}" SET quote_all_identifiers = on')
    # what the address sets itself holds beside it
    target = reader(url + "?application_name=quoted&options=-c%20statement_timeout%3D12345")
    assert sorted(target.sync().upserts) == ["1", "2", "3"]
    db.run("SET quote_all_identifiers = on", "UPDATE item SET amount = 1 WHERE id = 1", "DELETE FROM item WHERE id = 2")
    found = target.sync()
    assert (found.upserts, found.deletes) == (["1"], ["2"])
    place = connection.normalise_url(url + "?options=-c%20statement_timeout%3D12345")
    with connection.bulk_transaction(place) as bulk:
        assert bulk.all("SELECT current_setting('statement_timeout') AS said") == [{"said": "12345ms"}]


def test_a_process_reads_the_types_of_a_database_once_and_an_asset_gets_values_of_those_made_since(
    url: str, db: Connection
) -> None:
    place = connection.normalise_url(url)
    connection._known_types.cache_clear()  # another test may have had a database of this name
    for said in ("off", "on"):  # what a database says of names later changes nothing
        db.run(f'ALTER DATABASE "{url.rpartition("/")[2]}" SET quote_all_identifiers = {said}')
        with connection.bulk_transaction(place) as bulk:
            assert bulk.all("SELECT 7 AS number, 'a'::text AS letter") == [{"number": 7, "letter": "a"}]
    assert connection._known_types.cache_info().misses == 1
    db.run("CREATE TYPE tint AS ENUM ('red')", "CREATE TABLE paint AS SELECT 'red'::tint AS colour")
    assert read_table(url, "paint", None).column("colour").to_pylist() == ["red"]


def test_a_text_is_made_alike_where_a_key_is_logged_and_where_it_is_read(url: str, db: Connection) -> None:
    make_item(db)
    install(url, ITEM)
    of_its_triggers = "SELECT tgfoid FROM pg_trigger WHERE tgrelid = 'item'::regclass AND NOT tgisinternal"
    noted = db.one(f"SELECT proconfig FROM pg_proc WHERE oid IN ({of_its_triggers})")
    logging = dict(setting.split("=", 1) for setting in noted)
    # asked for, not looked at: a machine without other locales shows money in one way alone
    theirs = {"lc_monetary": "POSIX", "quote_all_identifiers": "on"}
    for name, value in theirs.items():
        db.run(f"ALTER DATABASE \"{url.rpartition('/')[2]}\" SET {name} = '{value}'")
    place = connection.normalise_url(url + "?application_name=alike")
    asked = ", ".join(f"pg_catalog.current_setting('{name}') AS \"{name}\"" for name in logging)
    with connection.small_transaction(place, pool_max=1) as small, connection.bulk_transaction(place) as bulk:
        assert small.all(f"SELECT {asked}") == bulk.all(f"SELECT {asked}") == [logging]
    assert {name for name, value in theirs.items() if logging.get(name, value) == value} == set()


def test_the_fingerprint_follows_the_columns_that_are_read_and_the_mapping_and_no_other(
    url: str, db: Connection
) -> None:
    db.run("CREATE TABLE item (id int PRIMARY KEY, name text, other text)", "INSERT INTO item VALUES (1, 'a', 'x')")
    spec = spec_of(columns=("name",))
    target = reader(url, spec)
    first = target.sync().fingerprints()
    db.run("UPDATE item SET other = 'y'")
    assert target.sync().fingerprints() == first
    db.run("UPDATE item SET name = 'b'")
    assert target.sync().fingerprints() != first
    db.run("UPDATE item SET name = 'a'")
    assert target.sync().fingerprints() == first
    assert reader(url, replace(spec, mapping="v2")).sync().fingerprints() != first


def test_a_change_set_too_large_for_the_small_client_is_the_same(
    url: str, db: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.run("CREATE TABLE item (id int PRIMARY KEY, name text, amount int)")
    target = reader(url)
    target.sync()
    db.run("INSERT INTO item SELECT g, 'x' FROM generate_series(1, 50) AS g", "DELETE FROM item WHERE id > 40")
    before = target.watermark
    small = target.sync()
    monkeypatch.setattr(changes, "SMALL", 5)
    target.watermark = before
    bulk = target.sync()
    assert (small.upserts, small.deletes) == (bulk.upserts, bulk.deletes)
    assert small.rows == bulk.rows
    assert all(row[PROBLEM] is None for row in bulk.rows)
