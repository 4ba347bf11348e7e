"""Records that PostgreSQL does not let go, under Dagster: what wakes them, and which runs try them again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
from deltalake.schema import Field as DeltaField
from deltalake.schema import PrimitiveType

from sync_pipelines.engine.ledger.quarantine import QuarantinedRecord
from sync_pipelines_tests.dagster.world import World
from sync_pipelines_tests.lake.house import House, Lake, back
from sync_pipelines_tests.lake.reviews import DDL, held, row, rows
from sync_pipelines_tests.spare import spare

pytestmark = pytest.mark.slow

REPLY = "CREATE TABLE reply (id int PRIMARY KEY, review text REFERENCES review);"
VOTE = "CREATE TABLE vote (review text REFERENCES review);"
LEGAL = """CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'under legal hold'; END $$;
    CREATE TRIGGER hold BEFORE DELETE ON review FOR EACH ROW EXECUTE FUNCTION hold();"""
NOTHING = "nothing pending"


@pytest.fixture
def world(house: House, lake: Lake) -> World:
    """Twelve reviews on both sides."""
    house.execute(DDL)
    lake.write(rows(*(row(f"n{number:02}") for number in range(12))))
    component: Any = back()
    world = World(url=house.url, chroma=None, instance=dg.DagsterInstance.ephemeral(), component=component)
    world.materialize()
    return world


def refuse(world: World, house: House, lake: Lake, statements: str, *keys: str) -> None:
    """Delete records in the source that PostgreSQL is told to keep."""
    house.execute(statements)
    listed = ", ".join(f"'{key}'" for key in keys)
    lake.table.delete(f"id IN ({listed})")
    world.materialize()
    assert [(item.key, item.stage) for item in quarantined(world)] == [(key, "delete") for key in keys]
    assert world.sensor_tick().skip_message == NOTHING


def quarantined(world: World) -> list[QuarantinedRecord]:
    with world.resources.ledger.ledger() as ledger:
        return ledger.list_quarantine("shop", "review")


def goes_by_itself(world: World, house: House, *keys: str) -> None:
    """The sensor asks for a run, by which these records go; then it is quiet again."""
    assert len(world.sensor_tick().run_requests) == 1
    world.materialize()
    assert not set(keys) & held(house).keys()
    assert world.sensor_tick().skip_message == NOTHING


def test_a_record_that_was_not_let_go_goes_by_itself_when_what_referred_to_it_is_gone(
    world: World, house: House, lake: Lake
):
    refuse(world, house, lake, REPLY + "INSERT INTO reply VALUES (1, 'n03'), (2, 'n03'), (3, 'n05')", "n03")
    house.execute("DELETE FROM reply WHERE id = 1")
    assert world.sensor_tick().skip_message == NOTHING
    house.execute("DELETE FROM reply WHERE id = 2")
    goes_by_itself(world, house, "n03")
    assert quarantined(world) == []
    assert "n05" in held(house)


@pytest.mark.parametrize(
    "free",
    [
        "UPDATE reply SET review = 'n00'",
        *spare("DROP TABLE reply", "ALTER TABLE reply DROP CONSTRAINT reply_review_fkey", "TRUNCATE reply"),
        "DELETE FROM reply; CREATE TABLE older () INHERITS (reply); INSERT INTO older VALUES (1, 'n03')",
        "DELETE FROM reply; DELETE FROM review WHERE id = 'n03'",
    ],
)
def test_it_is_woken_however_it_comes_free(world: World, house: House, lake: Lake, free: str):
    refuse(world, house, lake, REPLY + "INSERT INTO reply VALUES (1, 'n03')", "n03")
    house.execute(free)
    goes_by_itself(world, house, "n03")
    assert quarantined(world) == []


def test_of_many_one_that_is_free_is_enough_and_the_others_stay(
    world: World, house: House, lake: Lake, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("sync_pipelines.engine.ledger.quarantine._PAGE", 2)
    keys = [f"n{number:02}" for number in range(3, 10)]
    held_by = ", ".join(f"({number}, '{key}')" for number, key in enumerate(keys))
    refuse(world, house, lake, f"{REPLY} INSERT INTO reply VALUES {held_by}", *keys)
    house.execute("DELETE FROM reply WHERE review = 'n08'")
    goes_by_itself(world, house, "n08")
    assert [item.key for item in quarantined(world)] == [key for key in keys if key != "n08"]


def test_a_record_that_two_tables_hold_is_woken_by_each_and_never_again_and_again(
    world: World, house: House, lake: Lake
):
    tables = f"{REPLY} {VOTE} INSERT INTO vote VALUES ('n03');"
    refuse(world, house, lake, tables + "INSERT INTO reply VALUES (1, 'n03')", "n03")
    house.execute("DELETE FROM vote")
    assert world.sensor_tick().skip_message == NOTHING  # it is the replies that it is known to be held by
    house.execute("INSERT INTO vote VALUES ('n03'); DELETE FROM reply")
    assert world.sensor_tick().run_requests
    world.materialize()
    assert [item.attempts for item in quarantined(world)] == [1]
    assert world.sensor_tick().skip_message == NOTHING
    house.execute("DELETE FROM vote")
    goes_by_itself(world, house, "n03")


def test_rows_that_go_with_it_and_are_held_themselves_wake_it_when_they_are_gone(
    world: World, house: House, lake: Lake
):
    tables = """CREATE TABLE reply (id int PRIMARY KEY, review text REFERENCES review ON DELETE CASCADE);
        INSERT INTO reply VALUES (1, 'n03');
        CREATE TABLE vote (reply int REFERENCES reply); INSERT INTO vote VALUES (1);"""
    refuse(world, house, lake, tables, "n03")
    house.execute("DELETE FROM vote; DELETE FROM reply")
    goes_by_itself(world, house, "n03")


def test_a_row_that_refers_to_itself_does_not_hold_itself(world: World, house: House, lake: Lake):
    house.execute("ALTER TABLE review ADD COLUMN parent text REFERENCES review DEFERRABLE INITIALLY DEFERRED")
    house.execute("UPDATE review SET parent = id WHERE id = 'n03'; UPDATE review SET parent = 'n04' WHERE id = 'n05'")
    refuse(world, house, lake, VOTE + "INSERT INTO vote VALUES ('n03')", "n03", "n04")
    house.execute("DELETE FROM vote")
    assert world.sensor_tick().run_requests
    world.materialize()
    assert [item.key for item in quarantined(world)] == ["n04"]
    house.execute("UPDATE review SET parent = NULL")
    goes_by_itself(world, house, "n04")


def test_rows_of_a_partitioned_table_and_of_several_columns_hold_it_too(house: House, lake: Lake):
    house.execute("CREATE TABLE review (id int, part text, PRIMARY KEY (id, part))")
    house.execute("""CREATE TABLE reply (review int, part text, day int, FOREIGN KEY (review, part) REFERENCES review)
        PARTITION BY LIST (day); CREATE TABLE reply_1 PARTITION OF reply FOR VALUES IN (1);
        CREATE INDEX ON reply (review); """)
    component: Any = back(source={"key": ["id", "part"]})
    world = World(url=house.url, chroma=None, instance=dg.DagsterInstance.ephemeral(), component=component)
    lake.write([{"id": number, "part": "it's"} for number in range(9)])
    world.materialize()
    house.execute("INSERT INTO reply VALUES (3, 'it''s', 1), (4, 'it''s', 1)")
    lake.table.delete("id = 3")
    world.materialize()
    assert [(item.key, item.stage) for item in quarantined(world)] == [('["3", "it\'s"]', "delete")]
    assert world.sensor_tick().skip_message == NOTHING
    house.execute("DELETE FROM reply WHERE review = 3")
    assert world.sensor_tick().run_requests
    world.materialize()
    assert quarantined(world) == []
    assert world.sensor_tick().skip_message == NOTHING


def test_nobody_is_woken_by_what_was_dropped(world: World, house: House, lake: Lake):
    refuse(world, house, lake, REPLY + "INSERT INTO reply VALUES (1, 'n03')", "n03")
    with world.resources.ledger.ledger() as ledger:
        ledger.drop_quarantined("shop", "review")
    house.execute("DELETE FROM reply")
    assert world.sensor_tick().skip_message == NOTHING


@pytest.mark.parametrize("mode", ["incremental", "full"])
def test_what_a_trigger_keeps_is_tried_again_by_a_schedules_run_on_which_nothing_else_has_changed(
    world: World, house: House, lake: Lake, mode: str
):
    refuse(world, house, lake, LEGAL, "n03")
    house.execute("DROP TRIGGER hold ON review")
    assert world.sensor_tick().skip_message == NOTHING  # nothing tells of a trigger whether it would let a row go
    (request,) = world.schedule_tick(f"shop_{mode}_schedule").run_requests
    world.materialize(partition=request.partition_key, mode=mode)
    assert "n03" not in held(house)
    assert quarantined(world) == []
    assert world.last_run().counts.deleted == 1


OPEN = "GRANT SELECT ON reply TO syncer;"
HIDDEN = {
    "no rights": "",
    "a closed schema": f"{OPEN} CREATE SCHEMA closed; ALTER TABLE reply SET SCHEMA closed; SET search_path = closed;",
    "row security": f"{OPEN} ALTER TABLE reply ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON reply USING (id > 1);",
    "large and without an index": f"{OPEN} INSERT INTO reply SELECT n, 'n00' FROM generate_series(10, 40000) AS n;",
}
HIDDEN["large and with an index of some rows"] = (
    HIDDEN["large and without an index"] + " CREATE INDEX ON reply (review) WHERE id < 5;"
)


@pytest.fixture
def plain_role(world: World, house: House, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The sync's role owns nothing."""
    house.execute("""DROP ROLE IF EXISTS syncer; CREATE ROLE syncer LOGIN;
        GRANT USAGE ON SCHEMA sync TO syncer; GRANT ALL ON ALL TABLES IN SCHEMA sync TO syncer;
        GRANT ALL ON ALL SEQUENCES IN SCHEMA sync TO syncer; GRANT ALL ON review TO syncer""")
    monkeypatch.setenv("DATABASE_URL", house.url.replace("postgres@", "syncer@"))
    yield
    house.execute("DROP OWNED BY syncer; DROP ROLE syncer")


@pytest.mark.usefixtures("plain_role")
@pytest.mark.parametrize("hide", HIDDEN.values(), ids=list(HIDDEN))
def test_where_the_rows_that_hold_it_cannot_be_asked_for_a_schedules_run_finds_out(
    world: World, house: House, lake: Lake, hide: str
):
    refuse(world, house, lake, f"{REPLY} {hide} INSERT INTO reply VALUES (1, 'n03')", "n03")
    (schema,) = house.execute("SELECT relnamespace::regnamespace::text FROM pg_class WHERE relname = 'reply'")[0]
    house.execute(f"DELETE FROM {schema}.reply")
    assert world.sensor_tick().skip_message == NOTHING
    world.materialize()
    assert "n03" not in held(house)
    assert quarantined(world) == []


@pytest.mark.usefixtures("plain_role")
def test_what_can_be_asked_for_no_more_wakes_nobody(world: World, house: House, lake: Lake):
    refuse(world, house, lake, f"{REPLY} {OPEN} INSERT INTO reply VALUES (1, 'n03')", "n03")
    house.execute("REVOKE ALL ON reply FROM syncer; DELETE FROM reply")
    assert world.sensor_tick().skip_message == NOTHING
    house.execute(OPEN)
    goes_by_itself(world, house, "n03")


PARENT = """CREATE TABLE item (id text PRIMARY KEY); ALTER TABLE review ADD item text REFERENCES item;
    INSERT INTO item VALUES ('there');"""
UNSEEN = {
    "no rights": "",
    "a closed schema": "GRANT SELECT ON item TO syncer; CREATE SCHEMA closed; ALTER TABLE item SET SCHEMA closed",
    "row security": "GRANT SELECT ON item TO syncer; ALTER TABLE item ENABLE ROW LEVEL SECURITY",
}


@pytest.mark.usefixtures("plain_role")
@pytest.mark.parametrize("hide", UNSEEN.values(), ids=list(UNSEEN))
def test_a_row_waits_also_for_a_parent_that_the_role_does_not_see(world: World, house: House, lake: Lake, hide: str):
    house.execute(PARENT + hide)
    lake.table.alter.add_columns([DeltaField("item", PrimitiveType("string"))])
    lake.write([{**row("a"), "item": "there"}, {**row("b"), "item": "none"}])
    world.materialize()
    assert ([item.key for item in quarantined(world)], "a" in held(house)) == (["b"], True)
    (schema,) = house.execute("SELECT relnamespace::regnamespace::text FROM pg_class WHERE relname = 'item'")[0]
    house.execute(f"INSERT INTO {schema}.item VALUES ('none')")
    world.materialize()
    assert (quarantined(world), "b" in held(house)) == ([], True)
