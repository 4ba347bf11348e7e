"""Records that the source has no more and that PostgreSQL does not let go."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from sync_pipelines.components.delta_to_postgres import DeltaToPostgres
from sync_pipelines.engine import run as engine
from sync_pipelines.engine.errors import MassDeleteError, RunError
from sync_pipelines.engine.model import UNDELETED, Counts, Scope
from sync_pipelines.engine.plan import plan
from sync_pipelines.engine.repair import Repair, Wanted, repair
from sync_pipelines.engine.run import Request
from sync_pipelines_tests.cli.hidden import TOLD
from sync_pipelines_tests.lake.house import House, Lake, back
from sync_pipelines_tests.lake.reviews import held, row, rows

pytestmark = pytest.mark.slow

ALL = {"mass_delete": {"share": 1, "records": 10_000}}
REFERRED = "CREATE TABLE reply (review text REFERENCES review); INSERT INTO reply VALUES ('{key}')"
FROZEN = """CREATE FUNCTION frozen() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'review % (%) is frozen', OLD.id, OLD.note USING ERRCODE = '{code}'; END $$;
    CREATE TRIGGER frozen BEFORE DELETE ON review FOR EACH ROW WHEN (OLD.id = '{{key}}') EXECUTE FUNCTION frozen()"""


SECRETS = ("secretperson3@canary.example", "a very private note")


@pytest.fixture
def twenty(review: House, lake: Lake) -> Lake:
    """Twenty records on both sides; a row of another table refers to n3."""
    lake.write(rows(*(row(f"n{number}") for number in range(20))))
    review.sync(back())
    review.execute(REFERRED.format(key="n3"))
    return lake


def quarantined(house: House) -> list[tuple[str, str, int]]:
    records = house.bind(back()).ledger.list_quarantine("shop", "review", dropped=False)
    return [(record.key, record.stage, record.attempts) for record in records]


def again(house: House, lake: Lake, mode: str) -> Counts:
    """A run that comes later and has something to do."""
    if mode == "records":  # as `quarantine replay` has it
        request = Request(mode=mode, scope=Scope(keys=("n3",)), trigger="cli", run_id=str(uuid.uuid4()))
        return engine.write(engine.open_run(house.bind(back()), request))
    lake.table.update({"note": "concat(note, '.')"}, predicate="id = 'n0'")
    return house.sync(back(), mode=mode)


@pytest.mark.parametrize("mode", ["incremental", "full"])
def test_a_record_that_is_not_let_go_stays_alone_and_is_quarantined_alone(review: House, twenty: Lake, mode: str):
    twenty.table.delete("id IN ('n1', 'n3', 'n5')")
    counts = review.sync(back(), mode=mode)
    assert (counts.deleted, counts.quarantined) == (2, 1)
    assert {"n1", "n3", "n5"} & held(review).keys() == {"n3"}
    assert quarantined(review) == [("n3", UNDELETED, 1)]
    binding = review.bind(back())
    (record,) = binding.ledger.list_quarantine("shop", "review")
    assert "reply_review_fkey" in record.reason
    assert "Delete the rows that refer to it" in record.reason
    assert not binding.source.pending(binding.ledger.watermark("shop", "review"))
    for kind in ("quick", "deep"):
        proof = review.prove(back(), kind)
        assert (proof.equal, proof.extra, proof.quarantined) == (True, 0, 1)


def test_a_repair_is_not_stopped_by_a_record_that_is_not_let_go(review: House, twenty: Lake):
    review.execute(
        "INSERT INTO review (id, note) VALUES ('made', 'x'), ('other', 'x'); UPDATE reply SET review = 'made'"
    )
    done = mend(review, back())
    assert (done.found.extra, done.repaired, done.counts.deleted, done.counts.quarantined) == (2, 1, 1, 1)
    assert quarantined(review) == [("made", UNDELETED, 1)]
    proof = review.prove(back(), "deep")
    assert (proof.equal, proof.extra, proof.quarantined) == (True, 0, 1)
    assert mend(review, back(), deep=True).found.equal


@pytest.mark.parametrize("mode", ["incremental", "full", "records"])
def test_later_runs_try_it_again_until_it_went(review: House, twenty: Lake, mode: str):
    twenty.table.delete("id = 'n3'")
    review.sync(back())
    for _ in range(2):
        assert again(review, twenty, mode).deleted == 0
    assert quarantined(review) == [("n3", UNDELETED, 1)]
    review.execute("DELETE FROM reply")
    assert again(review, twenty, mode).deleted == 1
    assert "n3" not in held(review)
    assert quarantined(review) == []
    events = review.bind(back()).ledger.record_events("shop", "review", key="n3")
    assert [event.event for event in events] == ["recovered", "failed"]
    assert review.prove(back(), "deep").equal


@pytest.mark.parametrize("mode", ["incremental", "full"])
def test_it_leaves_quarantine_when_the_source_has_it_again_or_somebody_else_deleted_it(
    review: House, twenty: Lake, mode: str
):
    twenty.table.delete("id IN ('n3', 'n4')")
    review.execute("INSERT INTO reply VALUES ('n4')")
    review.sync(back())
    assert [key for key, *_ in quarantined(review)] == ["n3", "n4"]
    twenty.write(rows(row("n3", note="again")))
    review.execute("DELETE FROM reply WHERE review = 'n4'; DELETE FROM review WHERE id = 'n4'")
    review.sync(back(), mode=mode)
    assert quarantined(review) == []
    assert held(review)["n3"][1] == "again"
    assert review.prove(back(), "deep").equal


def test_one_that_was_dropped_is_excluded_and_tried_by_full_runs_alone(review: House, twenty: Lake):
    twenty.table.delete("id = 'n3'")
    review.sync(back())
    ledger = review.bind(back()).ledger
    ledger.drop_quarantined("shop", "review", ["n3"])
    again(review, twenty, "full")
    proof = review.prove(back())
    assert (proof.equal, proof.quarantined, proof.excluded) == (True, 0, 1)
    review.execute("DELETE FROM reply")
    assert again(review, twenty, "incremental").deleted == 0
    assert again(review, twenty, "full").deleted == 1
    assert ledger.quarantine_counts("shop", "review") == (0, 0)


@pytest.mark.parametrize("since", ["the address is spelled otherwise", "another row holds it", "the words are older"])
def test_one_that_was_dropped_stays_dropped_however_its_refusal_is_put(
    review: House, twenty: Lake, since: str, monkeypatch: pytest.MonkeyPatch
):
    twenty.table.delete("id = 'n3'")
    review.sync(back())
    ledger = review.bind(back()).ledger
    ledger.drop_quarantined("shop", "review", ["n3"])
    if since == "the address is spelled otherwise":
        monkeypatch.setenv("DATABASE_URL", review.url.replace("127.0.0.1", "localhost"))
    elif since == "another row holds it":
        review.execute("DROP TABLE reply; CREATE TABLE vote (review text REFERENCES review)")
        review.execute("INSERT INTO vote VALUES ('n3')")
    else:
        review.execute("UPDATE sync.sync_quarantine SET reason = 'It stays in the table: PostgreSQL db:5432/app: no.'")
    assert again(review, twenty, "full").quarantined == 0
    assert ledger.quarantine_counts("shop", "review") == (0, 1)
    assert review.prove(back(), "deep").equal


@pytest.mark.parametrize("stage", ["write", "delete"])
def test_a_run_and_a_plan_count_what_is_in_quarantine_and_not_what_was_dropped(review: House, twenty: Lake, stage: str):
    if stage == "write":
        twenty.merge(rows(row("n3", note="\0"), row("n4", note="\0")))
    else:
        review.execute("INSERT INTO reply VALUES ('n4')")
        twenty.table.delete("id IN ('n3', 'n4')")
    for mode in ("incremental", "full"):
        assert review.sync(back(), mode=mode).quarantined == 2
        assert plan(review.bind(back()), mode="full").quarantined == 2
    review.bind(back()).ledger.drop_quarantined("shop", "review", ["n3"])
    assert plan(review.bind(back()), mode="full").quarantined == 1
    assert review.sync(back(), mode="full").quarantined == 1
    assert review.execute("SELECT records_quarantined FROM sync.sync_logs ORDER BY id DESC LIMIT 1") == [(1,)]


@pytest.mark.parametrize("mode", ["incremental", "full"])
@pytest.mark.parametrize("drop", [False, True], ids=["open", "dropped"])
def test_one_that_comes_back_as_it_was_is_in_quarantine_no_more(review: House, twenty: Lake, mode: str, drop: bool):
    before = rows(row("n3"))
    twenty.table.delete("id = 'n3'")
    review.sync(back())
    if drop:
        review.bind(back()).ledger.drop_quarantined("shop", "review")
    twenty.write(before)
    counts = review.sync(back(), mode=mode)
    assert (counts.upserted, counts.deleted, counts.quarantined) == (0, 0, 0)
    assert review.bind(back()).ledger.quarantine_counts("shop", "review") == (0, 0)
    twenty.table.delete("id = 'n3'")
    assert review.sync(back(), mode=mode).quarantined == 1
    assert quarantined(review) == [("n3", UNDELETED, 1)]


@pytest.mark.parametrize("mode", ["incremental", "full"])
def test_one_that_is_edited_while_it_is_not_let_go_becomes_a_conflict_and_back(review: House, twenty: Lake, mode: str):
    wins = back(conflicts={"strategy": "target_wins"})
    review.sync(wins, mode="full")
    twenty.table.delete("id = 'n3'")
    review.sync(wins)
    assert quarantined(review) == [("n3", UNDELETED, 1)]
    review.execute("UPDATE review SET note = 'edited' WHERE id = 'n3'")
    assert plan(review.bind(wins), mode=mode).quarantined == 0
    assert review.sync(wins, mode=mode).quarantined == 0
    ledger = review.bind(wins).ledger
    assert quarantined(review) == []
    assert [item.key for item in ledger.list_conflicts("shop", "review")] == ["n3"]
    proof = review.prove(wins, "deep")
    assert (proof.equal, proof.quarantined, proof.excluded, proof.extra) == (True, 0, 1, 0)
    review.bind(wins).target.give_way(["n3"])  # as `conflicts resolve --take source` does before its run
    assert again(review, twenty, "records").quarantined == 1
    assert quarantined(review) == [("n3", UNDELETED, 1)]
    assert ledger.list_conflicts("shop", "review") == []
    proof = review.prove(wins, "deep")
    assert (proof.equal, proof.quarantined, proof.excluded, proof.extra) == (True, 1, 0, 0)


def test_a_plan_of_a_run_says_of_the_records_that_it_tries_again_what_the_run_does(review: House, twenty: Lake):
    twenty.table.delete("id = 'n3'")
    review.sync(back())
    found = plan(review.bind(back()))
    assert (found.read, found.deletes, found.quarantined) == (0, 0, 1)
    counts = review.sync(back())
    assert (counts.read, counts.deleted, counts.quarantined) == (0, 0, 1)


def test_a_plan_of_a_run_knows_the_record_whose_parent_has_come(house: House, lake: Lake):
    house.execute("CREATE TABLE item (id text PRIMARY KEY)")
    house.execute("CREATE TABLE review (id text PRIMARY KEY, item text REFERENCES item)")
    house.execute("INSERT INTO item VALUES ('there')")
    lake.write([{"id": "a", "item": "i"}, {"id": "b", "item": "there"}])
    house.sync(back())
    assert plan(house.bind(back())).quarantined == 1
    house.execute("INSERT INTO item VALUES ('i')")
    found = plan(house.bind(back()))
    assert (found.upserts, found.quarantined) == (1, 0)
    assert house.sync(back()).upserted == 1


@pytest.mark.parametrize("wanted", [{}, {"deep": True}, {"keys": ("n3",)}], ids=["quick", "deep", "keys"])
def test_a_repair_leaves_alone_what_was_not_let_go(review: House, twenty: Lake, wanted: dict[str, Any]):
    twenty.table.delete("id = 'n3'")
    review.sync(back())
    review.execute("DELETE FROM reply")
    done = mend(review, back(), **wanted)
    assert (done.found.equal, done.found.extra, done.repaired, done.counts.deleted) == (True, 0, 0, 0)
    assert quarantined(review) == [("n3", UNDELETED, 1)]


def test_a_conflict_whose_record_is_then_refused_counts_as_quarantined_alone(review: House, twenty: Lake):
    wins = back(conflicts={"strategy": "target_wins"})
    review.sync(wins, mode="full")
    review.execute("UPDATE review SET note = 'edited' WHERE id = 'n4'")
    twenty.table.update({"note": "'other'"}, predicate="id = 'n4'")
    review.sync(wins)
    assert len(review.bind(wins).ledger.list_conflicts("shop", "review")) == 1
    twenty.merge(rows(row("n4", note="\0")))
    assert review.sync(wins).quarantined == 1
    proof = review.prove(wins, "deep")
    assert (proof.equal, proof.quarantined, proof.excluded) == (True, 1, 0)
    assert review.bind(wins).ledger.list_conflicts("shop", "review") == []  # `status` counts them as excluded
    twenty.table.update({"note": "'yet another'"}, predicate="id = 'n4'")
    assert review.sync(wins).quarantined == 0
    assert len(review.bind(wins).ledger.list_conflicts("shop", "review")) == 1
    assert held(review)["n4"][1] == "edited"


def test_a_reason_names_no_address_and_is_the_newest_one(review: House, twenty: Lake):
    twenty.table.delete("id = 'n3'")
    review.sync(back())
    review.execute("DROP TABLE reply; CREATE TABLE vote (review text REFERENCES review)")
    review.execute("INSERT INTO vote VALUES ('n3')")
    again(review, twenty, "incremental")
    (record,) = review.bind(back()).ledger.list_quarantine("shop", "review")
    assert ("vote_review_fkey" in record.reason, record.attempts) == (True, 1)
    assert "127.0.0.1" not in record.reason


@pytest.mark.parametrize("mode", ["incremental", "full"])
def test_the_guard_counts_what_was_not_let_go_once_and_everything_else_always(review: House, lake: Lake, mode: str):
    lake.write(rows(*(row(f"n{number:03}") for number in range(400))))
    review.sync(back())
    review.execute("CREATE TABLE reply AS SELECT id AS review FROM review WHERE id < 'n110'")
    review.execute("ALTER TABLE reply ADD FOREIGN KEY (review) REFERENCES review; CREATE INDEX ON reply (review)")
    lake.table.delete("id < 'n120'")
    with pytest.raises(MassDeleteError, match="120 of the target's 400"):
        review.sync(back(), mode=mode)
    counts = review.sync(back(checks=ALL), mode=mode)
    assert (counts.deleted, counts.quarantined) == (10, 110)
    lake.write(rows(row("new")))
    for scope in ("incremental", "full"):
        found = plan(review.bind(back()), mode=scope)
        assert (found.upserts, found.deletes, found.refused) == (1, 0, None)
    assert found.quarantined == 110
    assert review.sync(back(), mode=mode).quarantined == 110
    lake.table.delete("id < 'n250'")
    with pytest.raises(MassDeleteError, match="130 of the target's 391"):
        review.sync(back(), mode=mode)
    assert len(held(review)) == 391


def test_in_a_tree_only_what_others_refer_to_and_what_is_above_it_stays(house: House, lake: Lake):
    house.execute("CREATE TABLE review (id text PRIMARY KEY, parent text REFERENCES review)")
    parents = {"x": "x", "a": "x", "m": "x", "n": "m", "z": "a"}
    lake.write([{"id": key, "parent": parent} for key, parent in parents.items()])
    house.sync(back())
    house.execute(REFERRED.format(key="n"))
    lake.table.delete("id <> 'x'")
    counts = house.sync(back())
    assert (counts.deleted, counts.quarantined, set(held(house))) == (2, 2, {"x", "m", "n"})
    house.execute("DELETE FROM reply")
    counts = house.sync(back(), mode="full")
    assert (counts.deleted, counts.quarantined, set(held(house))) == (2, 0, {"x"})


def test_a_parent_is_tried_again_after_its_children_went(house: House, lake: Lake):
    house.execute("CREATE TABLE review (id text PRIMARY KEY, parent text REFERENCES review)")
    table = back(checks=ALL)
    lake.write([{"id": "0", "parent": "x"}, {"id": "x", "parent": "x"}])
    lake.write([{"id": f"c{number}", "parent": "0"} for number in range(1500)])
    house.sync(table)
    house.execute("CREATE INDEX ON review (parent)")
    lake.table.delete("id LIKE 'c%' OR id = '0'")
    counts = house.sync(table, mode="full")
    assert (counts.deleted, counts.quarantined, set(held(house))) == (1501, 0, {"x"})


def mend(house: House, table: DeltaToPostgres, **wanted: Any) -> Repair:
    request = Request(mode="repair", scope=Scope(), trigger="manual", run_id=str(uuid.uuid4()))
    return repair(house.bind(table), request, Wanted(**wanted))


@pytest.mark.parametrize(
    "refuse", [REFERRED, FROZEN.format(code="23001"), FROZEN.format(code="P0001")], ids=["key", "a code", "raised"]
)
@pytest.mark.parametrize("mode", ["incremental", "full", "repair"])
def test_nothing_that_is_said_of_a_refused_deletion_quotes_a_sensitive_value(
    review: House, lake: Lake, refuse: str, mode: str
):
    table = back(sensitive=["id", "note"])
    lake.write(rows(row("a"), *([] if mode == "repair" else [row(SECRETS[0], note=SECRETS[1])])))
    review.sync(table)
    if mode == "repair":  # what is pending is not repaired, but what somebody made in PostgreSQL is
        review.execute("INSERT INTO review (id, note) VALUES (%s, %s)", *SECRETS)
    review.execute(refuse.format(key=SECRETS[0]))
    lake.table.delete(f"id = '{SECRETS[0]}'")
    told = ""
    try:
        if mode == "repair":
            mend(review, table)
        else:
            review.sync(table, mode=mode)
    except RunError as error:
        told = repr(error)
    told += review.execute(TOLD)[0][0]
    assert held(review).keys() == {"a", SECRETS[0]}
    assert "left out for sensitive columns" in told or "reply_review_fkey" in told
    assert not [secret for secret in SECRETS if secret in told]


RAISED = """CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {does}; END $$;
    CREATE TRIGGER hold BEFORE {event} ON review FOR EACH ROW WHEN (OLD.id = 'n3') EXECUTE FUNCTION hold()"""


LEGAL = "RAISE EXCEPTION 'review % is under legal hold', OLD.id"


@pytest.mark.parametrize(("does", "why"), [(LEGAL, "under legal hold"), ("RETURN NULL", "without an error")])
@pytest.mark.parametrize("mode", ["incremental", "full"])
def test_a_record_that_a_trigger_keeps_stays_alone_whatever_the_trigger_says(
    review: House, lake: Lake, mode: str, does: str, why: str
):
    lake.write(rows(*(row(f"n{number}") for number in range(20))))
    review.sync(back())
    review.execute(RAISED.format(does=does, event="DELETE"))
    lake.table.delete("id IN ('n1', 'n3', 'n5')")
    counts = review.sync(back(), mode=mode)
    assert (counts.deleted, counts.quarantined, quarantined(review)) == (2, 1, [("n3", UNDELETED, 1)])
    (record,) = review.bind(back()).ledger.list_quarantine("shop", "review")
    assert why in record.reason
