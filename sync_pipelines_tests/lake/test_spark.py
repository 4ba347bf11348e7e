"""Full reads by a Spark job, which dagster-databricks' Pipes clients launch on the stand-in's Spark."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import dagster as dg
import pyarrow as pa
import pytest
from databricks.sdk.service import jobs

from sync_pipelines.components.postgres_to_delta import PostgresToDelta
from sync_pipelines.engine import run as engine
from sync_pipelines.engine.errors import ConfigurationError, RunError, TransientError
from sync_pipelines.engine.model import Scope
from sync_pipelines.engine.urls import normalise_url
from sync_pipelines.resources.databricks import DatabricksResource
from sync_pipelines.sources.postgres.exporting import page_ranges
from sync_pipelines.targets.databricks.settings import TableName
from sync_pipelines.targets.spark.conversion import converted
from sync_pipelines.targets.spark.errors import of_job
from sync_pipelines.targets.spark.job import Job, OverError
from sync_pipelines.targets.spark.launching import Launcher
from sync_pipelines.targets.spark.loading import Work
from sync_pipelines.targets.spark.settings import JobSettings, jdbc_url
from sync_pipelines.targets.spark.staged import StagedRows
from sync_pipelines_tests.cli.hidden import TOLD
from sync_pipelines_tests.dagster.world import World
from sync_pipelines_tests.lake.engines import PASSWORD, name_job
from sync_pipelines_tests.lake.house import House, by_spark
from sync_pipelines_tests.lake.test_types import KEPT, REFUSED, TYPES_DDL
from sync_pipelines_tests.sandbox.databricks.shared import Schema

CHOSEN = [("numeric", "decimal(6,2)", "1.5", "1.555"), ("numeric", "double", "0.5", "0.12345678901234567890123")]


@pytest.fixture
def far(house: House, databricks_schema: Schema, monkeypatch: pytest.MonkeyPatch) -> Schema:
    name_job(house, databricks_schema, monkeypatch)
    return databricks_schema


def run_of(house: House, table: PostgresToDelta, mode: str = "incremental") -> Any:
    """A run that was written, with its counts and facts."""
    request = engine.Request(mode=mode, scope=Scope(full=mode != "incremental"), trigger="manual", run_id="r")
    changes = engine.open_run(house.bind(table), request)
    engine.write(changes)
    return changes.run


def left_in(schema: Schema) -> list[str]:
    """What stands in the Volume below the tables' folders."""
    listed = schema.client.files.list_directory_contents
    folders = [item.path for item in listed(f"{schema.volume}/sync_pipelines")]
    return [str(item.path) for folder in folders for item in listed(folder)]


@contextmanager
def growing(house: House) -> Iterator[None]:
    """Meanwhile one row after the other is inserted."""
    stop = threading.Event()

    def change() -> None:
        while not stop.wait(0.3):
            house.execute("INSERT INTO item (id) SELECT max(id) + 1 FROM item")

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def columns_and_rows() -> tuple[dict[str, str], list[dict[str, str]], list[dict[str, str]]]:
    """A column of each type: name → type; rows whose values fit, and rows each of which holds one that does not."""
    columns = {f"c{number}": kind for number, (kind, *_) in enumerate(KEPT)}
    columns |= {f"r{number}": kind for number, (kind, *_) in enumerate(REFUSED)}
    columns |= {f"t{number}": kind for number, (kind, *_) in enumerate(CHOSEN)}
    good = [{f"c{number}": text for number, (_, text, *_) in enumerate(KEPT)}]
    good += [{f"t{number}": text for number, (_, _, text, _) in enumerate(CHOSEN)}]
    bad = [{f"r{number}": text} for number, (_, text, _) in enumerate(REFUSED)]
    bad += [{f"t{number}": text} for number, (*_, text) in enumerate(CHOSEN)]
    return columns, good, bad


@pytest.mark.slow
def test_a_first_run_brings_every_type_in_one_snapshot_and_quarantines_what_does_not_fit(house: House, far: Schema):
    columns, good, bad = columns_and_rows()
    house.execute(TYPES_DDL)
    house.execute(
        "CREATE TABLE item (id int PRIMARY KEY, body text DEFAULT repeat('x', 1000), "
        f"{', '.join(map(' '.join, columns.items()))})"
    )
    for key, values in enumerate([*good, *bad]):
        marks = "".join(f", %s::{columns[name]}" for name in values)
        house.execute(f"INSERT INTO item (id, {', '.join(values)}) VALUES ({key}{marks})", *values.values())
    house.execute("INSERT INTO item (id) SELECT g FROM generate_series(1001, 1400) AS g")
    table = by_spark(
        spark={"connections": 2}, types={f"t{number}": wanted for number, (_, wanted, *_) in enumerate(CHOSEN)}
    )
    house.capture(table)
    with growing(house):
        run = run_of(house, table)
    assert run.facts["spark_pieces"] >= 4
    assert run.facts["spark_rows"] == run.changes.rows, "what is inserted after the snapshot is seen by no connection"
    assert (run.facts["spark_rows_left"], run.counts.quarantined) == (len(bad), len(bad)), "no other was left"
    assert run.counts.upserted == run.changes.rows - len(bad)
    later = house.execute("SELECT count(*) FROM item")[0][0] - run.changes.rows
    assert house.sync(table).upserted == later > 0
    assert house.prove(table, "deep").equal
    assert left_in(far) == []


@pytest.mark.slow
def test_an_array_of_which_spark_would_lose_elements_is_left(databricks_schema: Schema):
    field = pa.field("notes", pa.list_(pa.string()), metadata={"pg_base": "text[]", "pg_name": "text", "pg_array": "1"})
    column = converted("c0", field, pa.list_(pa.string()))
    texts = """SELECT concat('["', repeat('x', n), '","z"]') AS c0 FROM VALUES (3), (20000001) AS v(n)"""
    whole = f"coalesce(size({column.value}), 0) = 2"
    found = databricks_schema.sql(f"SELECT {column.fits}, {whole} FROM ({texts}) ORDER BY length(c0)")
    assert found == [["true", "true"], ["false", "false"]]


@pytest.mark.slow
def test_under_dagster_on_a_cluster_a_rebuild_tells_its_numbers_and_no_password(house: House, far: Schema, capfd):
    house.execute("CREATE TABLE item (id int PRIMARY KEY, amount numeric(8,2)); INSERT INTO item VALUES (1, 2)")
    component: Any = by_spark(spark={"rows": 2, "new_cluster": {"spark_version": "16.4.x", "num_workers": 1}})
    house.capture(component)
    world = World(url=house.url, chroma=None, instance=dg.DagsterInstance.ephemeral(), component=component)
    world.materialize()  # too small for a job
    house.execute("ALTER TABLE item ALTER COLUMN amount TYPE text; INSERT INTO item VALUES (3, 'x')")
    far.sql("INSERT INTO item SELECT * FROM item WHERE id = 1")  # a copy goes with the rebuild
    (event,) = world.materialize(mode="rebuild").asset_materializations_for_node(component.op_name)
    told = {name: value.value for name, value in event.metadata.items()}
    assert (told["read"], told["upserted"], told["spark_rows"]) == (2, 2, 2)
    assert {row["id"]: row["amount"] for row in house.rows(component)} == {1: "2.00", 3: "x"}
    assert house.prove(component, "deep").equal
    said = "".join(capfd.readouterr()) + str(told)
    assert "rows are read and staged" in said
    number = int(told["spark_run"].rpartition("/")[2])
    run = far.client.jobs.get_run(number)
    said += str(run.as_dict()) + str(far.client.jobs.get_run_output(run.tasks[0].run_id).as_dict())
    assert PASSWORD not in said


@pytest.mark.slow
def test_a_job_that_fails_says_where_and_what_to_do_and_leaves_nothing(
    house: House, far: Schema, monkeypatch: pytest.MonkeyPatch
):
    house.execute("CREATE TABLE item (id int PRIMARY KEY); INSERT INTO item VALUES (1)")
    house.capture(by_spark())
    monkeypatch.setenv("DATABRICKS_SCOPE", "nowhere")
    with pytest.raises(ConfigurationError, match=r"^shop/item: .*nowhere.*/jobs/runs/\d+ .*DATABRICKS_SCOPE"):
        house.sync(by_spark())
    assert left_in(far) == []
    assert house.rows(by_spark()) == []


@pytest.mark.slow
def test_a_job_that_fails_for_a_row_quotes_no_sensitive_value_of_it(house: House, far: Schema, capfd):
    secret = "the diagnosis of Anna Private"
    house.execute("CREATE TABLE item (id int PRIMARY KEY, note text)")
    table = by_spark(sensitive=["note"])
    house.capture(table)
    house.sync(table)
    target = house.bind(table).target
    target.warehouse.run(f"ALTER TABLE {target.table.sql} ADD CONSTRAINT short CHECK (length(note) < 9)", doing="alter")
    house.execute("INSERT INTO item SELECT n, 'n' FROM generate_series(2, 50) AS n")
    house.execute("INSERT INTO item VALUES (1, %s)", secret)
    with pytest.raises(RunError, match=r"DELTA_VIOLATE_CONSTRAINT_WITH_VALUES.*left out for sensitive columns") as told:
        house.sync(table, mode="full")
    number = int(str(told.value).rpartition("/")[2].rstrip("."))
    run = far.client.jobs.get_run(number)
    said = [str(told.value), str(run.as_dict()), *capfd.readouterr(), house.execute(TOLD)[0][0]]
    said.append(str(far.client.jobs.get_run_output(run.tasks[0].run_id).as_dict()))
    assert [secret in text for text in said] == [False] * len(said)
    assert left_in(far) == []


class Numbered(Launcher):
    """A launcher that tells which run it has cancelled."""

    cancelled: ClassVar[list[int]] = []

    def _cancel(self, run_id: int) -> None:
        super()._cancel(run_id)
        self.cancelled.append(run_id)


@pytest.mark.slow
def test_a_job_is_cancelled_when_its_run_must_stop(far: Schema):
    script = f"{far.volume}/wait.py"
    far.client.files.upload(script, io.BytesIO(b"import time; time.sleep(300)"))
    looks = iter(range(4))

    def alive() -> None:
        if next(looks) > 2:
            raise RunError("the lock is lost")

    settings = JobSettings(connection="shop", cluster="0901-1", poll_seconds=0.2)
    launcher = Numbered(client=far.client, settings=settings, folder=far.volume, script=script, place={"sync": "shop"})
    with pytest.raises(RunError, match="the lock is lost"):
        launcher.run({}, alive=alive)
    (number,) = launcher.cancelled
    deadline = time.monotonic() + 30
    while (state := far.client.jobs.get_run(number).state).result_state is None and time.monotonic() < deadline:
        time.sleep(0.1)
    assert state.result_state is jobs.RunResultState.CANCELED


class Recorded:
    """A Spark that notes statements; each finds or writes one row."""

    def __init__(self) -> None:
        self.statements: list[str] = []

    def sql(self, statement: str) -> Any:
        self.statements.append(statement)
        numbers = {"num_inserted_rows": 1, "num_updated_rows": 0}
        return SimpleNamespace(head=lambda _: [1], first=lambda: SimpleNamespace(asDict=lambda: numbers))


def test_a_job_whose_run_was_killed_merges_nothing_after_the_next_run_began(tmp_path: Path):
    wanted, spark = tmp_path / "job.py", Recorded()
    wanted.write_text("")
    extras = {"wanted": str(wanted), "quiet": True, "queries": ["SELECT 1"], "connections": 1, "reader": {}}
    step = {"doing": "write", "unless_empty": "SELECT", "statement": "MERGE"}
    job = Job(spark, extras, None, lambda _: None)
    assert job.step(step) == 1
    wanted.unlink()  # as the next run sweeps the folder
    for work in (job.stage, lambda: job.step(step)):
        with pytest.raises(OverError, match="another one has begun"):
            work()
    assert spark.statements == ["SELECT", "MERGE", "SELECT"]


@pytest.mark.parametrize(("doubt", "compared"), [(None, "_fingerprint"), ("values", "`home`")])
def test_a_job_compares_values_where_equal_fingerprints_prove_nothing(doubt: Any, compared: str):
    staged = StagedRows(None, "/Volumes/c/s/v/rows")  # ty: ignore[invalid-argument-type] - nothing is asked
    columns = pa.schema([("home", pa.string())])
    aside: Any = None
    work = Work(
        settings=aside,
        shared=aside,
        source=columns,
        stored=columns,
        table=TableName("c", "s", "t"),
        stamped=False,
        doubt=doubt,
        staged=staged,
    )
    for text in (step[part] for step in work._steps("rows")[1:] for part in ("unless_empty", "statement")):
        assert f"t.{compared} <=> s.{compared}" in text


@pytest.mark.slow
@pytest.mark.exhaustive
def test_columns_that_swapped_their_names_have_their_values_swapped(house: House, far: Schema):
    house.execute("CREATE TABLE item (id int PRIMARY KEY, home text, work text); INSERT INTO item VALUES (1, 'a', 'b')")
    house.execute("INSERT INTO item SELECT g, g, g FROM generate_series(2, 9) AS g")
    table = by_spark(spark={"rows": 1})
    house.capture(table)
    run_of(house, table)
    for old, new in (("home", "spare"), ("work", "home"), ("spare", "work")):
        house.execute(f"ALTER TABLE item RENAME COLUMN {old} TO {new}")
    run = run_of(house, table)
    assert (run.facts["spark_rows"], run.counts.upserted, run.counts.unchanged) == (9, 1, 8)
    assert house.prove(table, "deep").equal


def test_pages_are_shared_out_without_gap_or_overlap():
    found = page_ranges(10, pieces=3, most=100)
    tid = "'({},0)'::pg_catalog.tid".format
    assert found == [
        f"t.ctid >= {tid(0)} AND t.ctid < {tid(4)}",
        f"t.ctid >= {tid(4)} AND t.ctid < {tid(8)}",
        f"t.ctid >= {tid(8)}",
    ]
    assert page_ranges(0, pieces=8, most=100) == [f"t.ctid >= {tid(0)}"]
    assert len(page_ranges(1000, pieces=2, most=100)) == 10


def test_the_address_is_the_one_of_the_connection_without_its_password(monkeypatch: pytest.MonkeyPatch):
    url = normalise_url("postgresql://app:s3cret-word@db.example:6543/shop?sslmode=require&schema=x")
    assert jdbc_url(url) == (
        "jdbc:postgresql://db.example:6543/shop?ApplicationName=sync_pipelines&tcpKeepAlive=true&sslmode=require"
    )
    plain = JobSettings(connection="shop")
    with pytest.raises(ConfigurationError, match="put-secret SCOPE shop_password"):
        plain.secret(url)
    assert plain.sized(scope="sync").secret(url) == ("sync", "shop_password")
    options = plain.reader(url, "SET x")
    assert (options["user"], options["sessionInitStatement"]) == ("app", "SET x")
    assert "s3cret-word" not in str(options)
    by_unity = plain.sized(jdbc_connection="source")
    assert by_unity.secret(url) is None
    assert by_unity.reader(url, "SET x").keys() == {"databricks.connection", "fetchsize", "sessionInitStatement"}
    with pytest.raises(ConfigurationError, match="socket of this machine"):
        jdbc_url(normalise_url("postgresql:///shop?host=/run/postgresql"))
    monkeypatch.setenv("DATABRICKS_CLUSTER_ID", "0901-1")
    assert not DatabricksResource().job("shop").serverless


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("PSQLException: ERROR: canceling statement due to lock timeout", TransientError),
        ("PSQLException: FATAL: password authentication failed for user", ConfigurationError),
        ("java.lang.ClassNotFoundException: org.postgresql.Driver", ConfigurationError),
        ("[PERMISSION_DENIED] no MODIFY on table", ConfigurationError),
        ("[DIVIDE_BY_ZERO] no", RunError),
    ],
)
def test_what_a_job_says_is_of_a_class(text: str, kind: type[Exception]):
    found = of_job(text, url="https://w/jobs/7", doing="run the Spark job", place={"sync": "shop", "table": "item"})
    assert type(found) is kind
    assert str(found).startswith("shop/item: Databricks: could not run the Spark job: ")
    assert "https://w/jobs/7" in str(found)


@pytest.mark.slow
def test_a_document_of_this_engine_loads_without_pyspark_and_a_missing_setting_is_named(house: House):
    code = (
        "import sys; sys.modules['pyspark'] = sys.modules['dagster_databricks'] = None\n"
        "from sync_pipelines_tests.lake.house import by_spark\n"
        "from sync_pipelines_tests.dagster.project import definitions\n"
        "definitions(by_spark()).get_repository_def()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    assert by_spark().not_configured(house.resources) == "not configured: DATABRICKS_HOST is not set"
