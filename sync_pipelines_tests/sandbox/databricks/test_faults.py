"""Faults on demand, and what databricks-sdk itself makes of them."""

from __future__ import annotations

import io
import time

import pytest
from databricks.sdk.service.sql import StatementState

from sync_pipelines_tests.sandbox.databricks.shared import Schema

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", ["429", "503"])
def test_the_sdk_waits_as_long_as_it_is_told_and_asks_again(databricks_schema: Schema, kind: str) -> None:
    databricks_schema.fault(kind, match="statements", retry_after=1)
    began = time.monotonic()
    assert databricks_schema.sql("SELECT 1") == [["1"]]
    assert time.monotonic() - began >= 1
    assert databricks_schema.server.seen(databricks_schema.name)["faults"] == {kind: 1}


def test_the_sdk_sends_a_statement_again_whose_answer_was_lost_so_that_it_runs_twice(databricks_schema: Schema) -> None:
    databricks_schema.sql("CREATE TABLE shop (id BIGINT)")
    databricks_schema.fault("drop", match="INSERT")
    databricks_schema.sql("INSERT INTO shop VALUES (1)")
    assert databricks_schema.sql("SELECT count(*) FROM shop") == [["2"]]


def test_a_request_lost_on_its_way_runs_nothing(databricks_schema: Schema) -> None:
    databricks_schema.fault("drop_before", match="CREATE")
    databricks_schema.sql("CREATE TABLE shop (id BIGINT)")
    assert databricks_schema.seen()["execute"] == 3  # the schema, and twice the table


def test_a_statement_fails_with_the_message_that_is_asked_for_and_runs_nothing(databricks_schema: Schema) -> None:
    message = "[DELTA_CONCURRENT_APPEND] Files were added by a concurrent update."
    databricks_schema.fault("fail", match="CREATE TABLE", message=message)
    status = databricks_schema.send("CREATE TABLE shop (id BIGINT)").status
    assert status.state is StatementState.FAILED
    assert status.error.message == message
    databricks_schema.sql("CREATE TABLE shop (id BIGINT)")


def test_a_fault_meets_the_requests_of_its_kind_and_text_alone(databricks_schema: Schema) -> None:
    databricks_schema.fault("429", match="files", retry_after=1)
    databricks_schema.server.fault("429", text="another test's schema")
    assert databricks_schema.sql("SELECT 1") == [["1"]]
    assert databricks_schema.server.seen(databricks_schema.name)["faults"] == {}
    databricks_schema.client.files.upload(f"{databricks_schema.volume}/x", io.BytesIO(b"x"))
    assert databricks_schema.server.seen(databricks_schema.name)["faults"] == {"429": 1}
    databricks_schema.server.clear_faults("another test's schema")


def test_a_hanging_answer_comes_late(databricks_schema: Schema) -> None:
    databricks_schema.fault("hang", match="directories", seconds=0.5)
    began = time.monotonic()
    databricks_schema.client.files.create_directory(f"{databricks_schema.volume}/late")
    assert time.monotonic() - began >= 0.5
