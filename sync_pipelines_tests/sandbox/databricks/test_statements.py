"""Statements: what databricks-sdk sends runs on a real Spark with Delta, and what comes back has Databricks' shape."""

from __future__ import annotations

import io
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from databricks.sdk.service.sql import (
    Disposition,
    ExecuteStatementRequestOnWaitTimeout,
    ExternalLink,
    Format,
    StatementResponse,
    StatementState,
)
from databricks.sdk.service.sql import StatementParameterListItem as Parameter

from sync_pipelines_tests.sandbox.databricks.shared import Schema

pytestmark = pytest.mark.slow

_ENDLESS = "SELECT count(*) FROM range(1000000000000) WHERE sqrt(id) = 0.5"
_ARROW = {"disposition": Disposition.EXTERNAL_LINKS, "format": Format.ARROW_STREAM}


def test_a_merge_with_parameters_from_a_staged_file_changes_the_table(databricks_schema: Schema) -> None:
    databricks_schema.sql("CREATE TABLE shop (id BIGINT, name STRING, price DECIMAL(10,2))")
    staged = io.BytesIO()
    pq.write_table(pa.table({"id": [1, 2], "name": ["one", None]}), staged)
    staged.seek(0)
    databricks_schema.client.files.upload(f"{databricks_schema.volume}/a b/ü.parquet", staged)
    merge = f"""
        MERGE INTO main.{databricks_schema.name}.shop t
        USING (SELECT *, :price AS price FROM parquet.`{databricks_schema.volume}/a b/ü.parquet`) s ON t.id = s.id
        WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *
    """
    databricks_schema.sql(merge, parameters=[Parameter("price", "DECIMAL(10,2)", "9.99")])
    assert databricks_schema.sql("SELECT * FROM shop ORDER BY id") == [["1", "one", "9.99"], ["2", None, "9.99"]]


def test_parameters_keep_their_types_and_a_missing_value_is_null(databricks_schema: Schema) -> None:
    given = [
        Parameter("small", "BIGINT", "3"),
        Parameter("text", None, "it's :small '/Volumes/x'"),
        Parameter("nothing", "TIMESTAMP"),
        Parameter("time", "TIMESTAMP", "2026-01-02T03:04:05.678901Z"),
    ]
    rows = databricks_schema.sql(
        "SELECT typeof(:small), :text, :nothing, CAST(:time AS STRING), :time, array(:small), current_catalog()",
        parameters=given,
    )
    times = ["2026-01-02 03:04:05.678901", "2026-01-02T03:04:05.678Z"]
    assert rows == [["bigint", "it's :small '/Volumes/x'", None, *times, "[3]", "main"]]


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("SELECT * FROM nowhere", "[TABLE_OR_VIEW_NOT_FOUND] The table or view `nowhere` cannot be found."),
        ("SELECT CAST('x' AS INT)", "[CAST_INVALID_INPUT] The value 'x' of the type \"STRING\" cannot be cast"),
        ("SELECT explode(sequence(1, 26)), repeat('x', 1048576)", "Inline byte limit exceeded."),
    ],
)
def test_a_failed_statement_answers_with_sparks_own_words(
    databricks_schema: Schema, statement: str, reason: str
) -> None:
    status = databricks_schema.send(statement).status
    assert status is not None
    assert status.state is StatementState.FAILED
    assert status.error is not None
    assert (status.error.message or "").startswith(reason)
    assert "== SQL ==" not in (status.error.message or "")


def test_what_one_statement_sets_no_other_one_sees(databricks_schema: Schema) -> None:
    databricks_schema.sql("SET spark.sql.session.timeZone = Asia/Tokyo")
    databricks_schema.sql("CREATE TEMPORARY VIEW passing AS SELECT 1")
    assert databricks_schema.sql("SELECT current_timezone()") == [["UTC"]]
    assert databricks_schema.send("SELECT * FROM passing").status.state is StatementState.FAILED


def test_a_cancelled_statement_ends_and_the_next_one_finds_the_cores_free(databricks_schema: Schema) -> None:
    sent = databricks_schema.send(_ENDLESS, wait_timeout="0s")
    _await(databricks_schema, sent, StatementState.RUNNING)
    databricks_schema.client.statement_execution.cancel_execution(sent.statement_id)
    _await(databricks_schema, sent, StatementState.CANCELED)
    stopped = databricks_schema.send(
        _ENDLESS, wait_timeout="5s", on_wait_timeout=ExecuteStatementRequestOnWaitTimeout.CANCEL
    )
    assert stopped.status.state is StatementState.CANCELED
    assert databricks_schema.sql("SELECT count(*) FROM range(1000)") == [["1000"]]


def test_a_large_answer_comes_in_order_by_links_in_arrow(databricks_schema: Schema) -> None:
    query = "SELECT id, concat('name ', id) AS name, id AS id FROM range(200000) ORDER BY id DESC"
    sent = databricks_schema.send(query, **_ARROW)
    tables = [_fetch(link) for link in _links(databricks_schema, sent)]
    assert sent.manifest.total_row_count == 200_000
    assert sent.manifest.total_chunk_count == len(tables) >= 10
    assert [chunk.row_count for chunk in sent.manifest.chunks] == [table.num_rows for table in tables]
    whole = pa.concat_tables(tables)
    assert whole.column_names == ["id", "name", "id"]
    assert whole.column(0).to_pylist() == list(range(199_999, -1, -1))


def test_statements_of_several_clients_run_beside_each_other(databricks_schema: Schema) -> None:
    endless = databricks_schema.send(_ENDLESS, wait_timeout="0s")
    try:
        with ThreadPoolExecutor(4) as clients:
            answers = list(clients.map(lambda number: databricks_schema.sql(f"SELECT {number}"), range(4)))
    finally:
        databricks_schema.client.statement_execution.cancel_execution(endless.statement_id)
    assert answers == [[["0"]], [["1"]], [["2"]], [["3"]]]
    _await(databricks_schema, endless, StatementState.CANCELED)


def test_text_behind_links_is_compact_json(databricks_schema: Schema) -> None:
    query = "SELECT id, IF(id = 0, NULL, 'ü') AS name FROM range(2) ORDER BY id"
    sent = databricks_schema.send(query, disposition=Disposition.EXTERNAL_LINKS)
    with urllib.request.urlopen(sent.result.external_links[0].external_link) as answer:
        assert answer.read().decode() == '[["0",null],["1","ü"]]'


def test_a_row_limit_cuts_the_answer_and_says_so(databricks_schema: Schema) -> None:
    cut = databricks_schema.send("SELECT id FROM range(10)", row_limit=9)
    assert (cut.manifest.total_row_count, cut.manifest.truncated) == (9, True)
    assert databricks_schema.send("SELECT id FROM range(9)", row_limit=9).manifest.truncated is False


def test_an_expired_link_is_refused_and_its_chunk_gives_a_new_one(databricks_schema: Schema) -> None:
    sent = databricks_schema.send("SELECT 1 AS one", **_ARROW)
    databricks_schema.fault("expired_link")
    old = sent.result.external_links[0]
    for _ in range(2):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            _fetch(old)
    new = databricks_schema.client.statement_execution.get_statement_result_chunk_n(sent.statement_id, 0)
    assert _fetch(new.external_links[0]).to_pylist() == [{"one": 1}]


def test_a_link_refuses_the_token_as_the_clouds_storage_does(databricks_schema: Schema) -> None:
    link = databricks_schema.send("SELECT 1 AS one", **_ARROW).result.external_links[0]
    request = urllib.request.Request(link.external_link, headers={"Authorization": "Bearer x"})
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(request)


def test_a_statement_waits_for_its_warehouse_to_start(databricks_schema: Schema) -> None:
    warehouse = databricks_schema.server.add_warehouse(start_seconds=1.0)
    assert databricks_schema.client.warehouses.get(warehouse).state.value == "STOPPED"
    sent = databricks_schema.send("SELECT 1", warehouse_id=warehouse, wait_timeout="0s")
    assert sent.status.state is StatementState.PENDING
    assert databricks_schema.client.warehouses.get(warehouse).state.value == "STARTING"
    _await(databricks_schema, sent, StatementState.SUCCEEDED)
    assert databricks_schema.client.warehouses.get(warehouse).state.value == "RUNNING"


def test_the_catalogue_lists_what_statements_made(databricks_schema: Schema) -> None:
    databricks_schema.sql("CREATE TABLE shop (id BIGINT COMMENT 'the key')")
    client, name = databricks_schema.client, databricks_schema.name
    assert [catalog.name for catalog in client.catalogs.list()] == ["main"]
    assert name in [schema.name for schema in client.schemas.list("main")]
    assert [table.full_name for table in client.tables.list("main", name)] == [f"main.{name}.shop"]
    assert [column.comment for column in client.tables.get(f"main.{name}.shop").columns] == ["the key"]


def _await(schema: Schema, sent: StatementResponse, state: StatementState) -> None:
    deadline = time.monotonic() + 60
    while (status := schema.client.statement_execution.get_statement(sent.statement_id).status).state is not state:
        assert time.monotonic() < deadline, status
        time.sleep(0.05)


def _links(schema: Schema, sent: StatementResponse) -> Iterator[ExternalLink]:
    links = sent.result.external_links
    while links:
        yield links[0]
        following = links[0].next_chunk_index
        if following is None:
            return
        chunk = schema.client.statement_execution.get_statement_result_chunk_n(sent.statement_id, following)
        links = chunk.external_links


def _fetch(link: ExternalLink) -> pa.Table:
    with urllib.request.urlopen(link.external_link) as answer:
        return pa.ipc.open_stream(answer).read_all()
