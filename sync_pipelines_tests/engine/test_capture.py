"""The SQL text of trigger capture."""

from __future__ import annotations

import pytest

from sync_pipelines.engine.capture import (
    EVENTS,
    NULL_KEY,
    CapturedTable,
    function_name,
    key_text,
    key_text_never_null,
    number_of,
    trigger_name,
    unread,
)
from sync_pipelines.engine.errors import ConfigurationError

TABLE = CapturedTable(schema="sync", number=7, key=("id",))


def test_a_key_is_its_columns_text_and_several_columns_are_json() -> None:
    assert key_text(["Id"], "t") == '(t."Id"::pg_catalog.text COLLATE "C")'
    assert key_text(["a", 'b"c'], "t") == (
        '(pg_catalog.json_build_array(t."a"::pg_catalog.text, t."b""c"::pg_catalog.text)::pg_catalog.text COLLATE "C")'
    )


def test_only_a_single_column_can_be_a_null_key() -> None:
    assert NULL_KEY in key_text_never_null(["a"], "t")
    assert key_text_never_null(["a", "b"], "t") == key_text(["a", "b"], "t")


@pytest.mark.parametrize("schema", ["sync", "other", "x" * 63, 'quo"ted'])
def test_trigger_names_fit_into_postgresqls_limit_and_differ(schema: str) -> None:
    names = {trigger_name(schema, number, event) for number in (1, 2**31 - 1) for event in EVENTS}
    assert len(names) == 8
    assert max(len(name.encode()) for name in names) <= 63


def test_two_sync_schemas_give_a_table_two_sets_of_triggers() -> None:
    assert trigger_name("sync", 1, "insert") != trigger_name("other", 1, "insert")


@pytest.mark.parametrize(
    ("name", "number"), [("capture_12", 12), ("capture_", None), ("capture_1x", None), ("other", None)]
)
def test_a_functions_name_tells_the_tables_number(name: str, number: int | None) -> None:
    assert number_of(name) == number
    assert number_of(function_name(3)) == 3


def test_each_event_has_a_trigger_with_its_transition_tables_that_always_fires() -> None:
    for event, tables in zip(EVENTS, ("new_rows", "new_rows", "old_rows", None), strict=True):
        create, enable = TABLE.create_trigger('"public"."item"', event)
        assert f"AFTER {event.upper()} ON" in create
        assert "FOR EACH STATEMENT" in create
        assert (tables in create) if tables else ("REFERENCING" not in create)
        assert "ENABLE ALWAYS TRIGGER" in enable


def test_the_function_runs_as_its_owner_with_a_fixed_search_path_and_is_not_for_everybody() -> None:
    create, revoke = TABLE.create_function()
    assert "SECURITY DEFINER" in create
    assert "SET search_path = pg_catalog, pg_temp" in create
    assert revoke == 'REVOKE ALL ON FUNCTION "sync"."capture_7"() FROM PUBLIC'


def test_what_is_unread_is_found_by_the_index_and_then_exactly() -> None:
    text = unread("10:20:12")
    assert "l.tx >= pg_catalog.pg_snapshot_xmin('10:20:12'::pg_catalog.pg_snapshot)" in text
    assert "NOT pg_catalog.pg_visible_in_snapshot(l.tx, '10:20:12'::pg_catalog.pg_snapshot)" in text


def test_a_name_that_postgresql_cannot_hold_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        key_text(["a\0b"], "t")
