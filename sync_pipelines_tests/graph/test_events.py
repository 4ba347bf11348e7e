"""Events of an outbox are brought to the graph: in order, once in effect, and the graph equals the tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sync_pipelines.decide import waited
from sync_pipelines.engine.consuming import TableConsumer
from sync_pipelines_tests.graph.app import Application, change, concepts, prerequisites, publish
from sync_pipelines_tests.graph.house import Academy, concept


@pytest.fixture
def app(academy: Academy) -> Application:
    """The application; the first, full sync has brought a concept that requires itself."""
    academy.add("c0")
    academy.require(("c0", "c0"))
    for table in (concepts(), prerequisites()):
        academy.sync(table)
    return Application(academy.url)


def titles(academy: Academy) -> list[str]:
    return [title for title in academy.titles() if title != "c0"]


def arrows(academy: Academy) -> list[tuple[str, str]]:
    return [pair for pair in academy.arrows() if pair != ("c0", "c0")]


def test_events_bring_nodes_and_each_is_completed(academy: Academy, app: Application) -> None:
    app.create("c1", "c2")
    app.update("c1", title="new", difficulty=3)
    app.update("c1", difficulty=None)
    counts = academy.sync(concepts())
    assert (counts.read, counts.upserted, counts.deleted) == (2, 2, 0)
    node = academy.node("c1") or {}
    assert (node["title"], "difficulty" in node) == ("new", False)
    assert {status for *_, status in app.events()} == {"COMPLETED"}
    assert all(made <= taken <= done for made, taken, done in app.events("created_at, published_at, completed_at"))
    app.delete("c2")
    assert academy.sync(concepts()).deleted == 1
    assert titles(academy) == ["new"]
    assert academy.prove(concepts(), "deep").equal
    assert academy.sync(concepts()).read == 0


def test_an_event_with_a_payload_of_a_megabyte_is_brought_as_any_other(academy: Academy, app: Application) -> None:
    title = "ab" * 524_288
    with app.transaction() as cursor:
        cursor.execute("INSERT INTO concept (id, title) VALUES ('c1', %s)", (title,))
        publish(cursor, "CONTENT_CREATED", "concept", "c1", {"id": "c1", "title": title})
    assert academy.sync(concepts()).upserted == 1
    assert titles(academy) == [title]
    assert app.statuses("c1") == ["COMPLETED"]


def test_an_event_that_is_on_its_way_is_no_difference(academy: Academy, app: Application) -> None:
    app.create("c1")
    proof = academy.prove(concepts())
    assert (proof.equal, proof.pending) == (True, 1)
    academy.execute("INSERT INTO concept (id) VALUES ('c2')")
    assert academy.prove(concepts()).samples == {"missing": ["c2"]}


def test_an_event_behind_an_open_transaction_waits_and_none_of_its_entity_passes_it(
    academy: Academy, app: Application
) -> None:
    app.create("c1")
    with app.transaction() as early, app.transaction() as late:
        early.execute("SELECT pg_current_xact_id()")
        late.execute("SELECT pg_current_xact_id()")
        app.update("c1", title="of a transaction behind the gate")
        change(early, "c1", title="let through before it")
        early.connection.commit()
        # the second version is gated out, the third is not: it must not be taken alone
        assert academy.sync(concepts()).read == 1
        assert app.statuses("c1") == ["COMPLETED", "PENDING", "BLOCKED"]
        binding = academy.bind(concepts())
        waiting = binding.source.pending(binding.ledger.watermark(*binding.place))
        assert not waiting, "no run could bring it"
        assert waited(waiting, None, now=datetime.now(UTC) + timedelta(hours=3)) == pytest.approx(3 * 3600, abs=600)
    academy.sync(concepts())
    assert app.statuses("c1") == ["COMPLETED"] * 3
    assert titles(academy) == ["let through before it"]


def test_events_that_come_again_or_late_change_nothing(academy: Academy, app: Application) -> None:
    app.create("c1", "c2")
    app.update("c1", title="second")
    app.delete("c2")
    academy.sync(concepts())
    for name, version in (("c1", 1), ("c2", 1)):
        app.again(name, version)
    counts = academy.sync(concepts())
    assert (counts.upserted, counts.deleted) == (0, 0)
    assert titles(academy) == ["second"]
    assert {status for *_, status in app.events()} == {"COMPLETED"}


def test_an_update_after_a_delete_brings_no_node_back_and_a_new_creation_does(
    academy: Academy, app: Application
) -> None:
    app.create("c1")
    app.delete("c1")
    app.publish("CONTENT_UPDATED", "c1", {"title": "late"})
    academy.sync(concepts())
    assert titles(academy) == []
    assert academy.execute("SELECT tombstone, target_version FROM sync.sync_status") == [(True, 3)]
    app.create("c1", title="again")
    academy.sync(concepts())
    assert titles(academy) == ["again"]
    status = "SELECT tombstone, source_version, target_version, has_pending_changes FROM sync.sync_status"
    assert academy.execute(status) == [(False, 4, 4, False)]


def test_an_event_without_a_row_says_so(academy: Academy, app: Application) -> None:
    app.publish("CONTENT_CREATED", "c9", {"title": "no row"})
    academy.sync(concepts())
    assert titles(academy) == []
    assert "no such row" in app.events("last_error")[0][0]


def test_a_relationship_waits_for_its_node_and_arrives_after_it(academy: Academy, app: Application) -> None:
    app.create("c1", "c2")
    app.require(("c1", "c2"), ("c1", "c1"))
    academy.sync(prerequisites())
    assert app.statuses("c1-c2") == ["BLOCKED"]
    assert "waits for its" in app.events("last_error")[-1][0]
    assert academy.prove(prerequisites()).equal
    academy.sync(concepts())
    assert app.statuses("c1-c2") == ["PENDING"]
    academy.sync(prerequisites())
    assert arrows(academy) == [("c1", "c1"), ("c1", "c2")]
    assert academy.prove(prerequisites(), "deep").equal
    assert not academy.quarantined(prerequisites())


def test_a_relationship_that_was_deleted_or_told_of_again_waits_for_what_it_still_needs(
    academy: Academy, app: Application
) -> None:
    app.require(("c1", "c2"), ("c1", "c3"))
    academy.sync(prerequisites())
    assert academy.quarantined(prerequisites()).keys() == {'["c2", "c1"]', '["c3", "c1"]'}
    with app.transaction() as cursor:
        cursor.execute("DELETE FROM prerequisite WHERE concept_id = 'c2'")
        publish(cursor, "RELATIONSHIP_DELETED", "prerequisite_of", "c1-c2")
        ends = {"start": {"type": "concept", "id": "c1"}, "end": {"type": "concept", "id": "c3"}}
        publish(cursor, "RELATIONSHIP_CREATED", "prerequisite_of", "c1-c3", ends)
    academy.sync(prerequisites())
    assert (app.statuses("c1-c2"), app.statuses("c1-c3")) == (["COMPLETED"] * 2, ["BLOCKED"] * 2)
    assert academy.quarantined(prerequisites()).keys() == {'["c3", "c1"]'}
    app.create("c1", "c3")
    for table in (concepts(), prerequisites()):
        academy.sync(table)
    assert arrows(academy) == [("c1", "c3")]
    assert app.statuses("c1-c3") == ["COMPLETED"] * 2


def test_a_relationship_that_leads_elsewhere_under_its_id_leaves_none_where_it_led(
    academy: Academy, app: Application
) -> None:
    app.create("c1", "c2", "c3")
    app.require(("c1", "c2"))
    for table in (concepts(), prerequisites()):
        academy.sync(table)
    with app.transaction() as cursor:
        cursor.execute("UPDATE prerequisite SET concept_id = 'c3' WHERE requires_id = 'c1'")
        publish(cursor, "RELATIONSHIP_DELETED", "prerequisite_of", "c1-c2")
        ends = {"start": {"type": "concept", "id": "c1"}, "end": {"type": "concept", "id": "c3"}}
        publish(cursor, "RELATIONSHIP_CREATED", "prerequisite_of", "c1-c2", ends)
    academy.sync(prerequisites())
    assert arrows(academy) == [("c1", "c3")]
    assert app.statuses("c1-c2") == ["COMPLETED"] * 3
    for name, weight in (("c2", 1.0), ("c2", 2.0)):
        # nobody has published that it was deleted; then its weight alone is another one
        with app.transaction() as cursor:
            moved = "UPDATE prerequisite SET concept_id = %s, weight = %s WHERE requires_id = 'c1'"
            cursor.execute(moved, (name, weight))
            ends["end"] = {"type": "concept", "id": name}
            publish(cursor, "RELATIONSHIP_CREATED", "prerequisite_of", "c1-c2", ends)
        assert academy.prove(prerequisites()).equal  # it is on its way
        academy.sync(prerequisites())
        assert arrows(academy) == [("c1", "c2")]
        assert academy.prove(prerequisites(), "deep").equal
    with app.transaction() as cursor:
        cursor.execute("DELETE FROM prerequisite WHERE requires_id = 'c1'")
        publish(cursor, "RELATIONSHIP_DELETED", "prerequisite_of", "c1-c2")
    academy.sync(prerequisites())
    assert arrows(academy) == []
    states = "SELECT target_version, has_pending_changes, tombstone FROM sync.sync_status WHERE entity_id = 'c1-c2'"
    assert app.run(states) == [(6, False, True)]


def test_with_a_node_go_its_relationships_and_those_whose_rows_stay_are_found(
    academy: Academy, app: Application
) -> None:
    app.create("c1", "c2", "c3")
    app.require(("c1", "c2"), ("c2", "c3"))
    for table in (concepts(), prerequisites()):
        academy.sync(table)
    app.delete("c2")
    academy.sync(concepts())
    assert arrows(academy) == []
    assert academy.prove(prerequisites()).missing == 2
    academy.repair(prerequisites())
    assert academy.prove(prerequisites()).equal
    app.create("c2")
    for table in (concepts(), prerequisites()):
        academy.sync(table)
    assert arrows(academy) == [("c1", "c2"), ("c2", "c3")]


def test_a_key_is_found_however_the_event_spells_it(academy: Academy, app: Application) -> None:
    academy.execute("CREATE TABLE lesson (number int PRIMARY KEY, title text)")
    lesson = concepts(
        source={"connection": "learning", "table": "lesson", "key": ["number"]},
        target={"label": "Lesson"},
        entity_type="concept",
    )
    academy.execute("INSERT INTO lesson VALUES (1, 'known')")
    academy.sync(lesson)
    academy.execute("INSERT INTO lesson VALUES (7, 'x')")
    app.publish("CONTENT_CREATED", "007", {})
    app.publish("CONTENT_CREATED", "seven", {})
    academy.sync(lesson)
    assert academy.node("7", "Lesson") == {"number": 7, "title": "x"}
    assert (app.statuses("007"), app.statuses("seven")) == (["COMPLETED"], ["PENDING"])
    assert app.events("last_error")[-1][0].count("no key of this table") == 1


def test_what_waits_for_a_node_of_a_label_that_its_document_names_no_more_waits_for_the_other_one(
    academy: Academy, app: Application
) -> None:
    app.require(("c0", "c9"))
    academy.sync(prerequisites())
    assert app.statuses("c0-c9") == ["BLOCKED"]
    start, end = ({"label": "Topic", "key": key} for key in ("requires_id", "concept_id"))
    arrows = prerequisites(target={"relationship": "PREREQUISITE_OF", "start": start, "end": end})
    topics = concept(name="topic", target={"label": "Topic"})
    for _ in range(2):
        academy.sync(arrows)
    assert ("of label Topic" in app.events("last_error")[0][0], app.statuses("c0-c9")) == (True, ["BLOCKED"])
    academy.capture(topics)
    academy.add("c9")
    for table in (topics, arrows):
        academy.sync(table)
    assert app.statuses("c0-c9") == ["COMPLETED"]


def test_more_events_than_the_guard_lets_go_stop_before_the_first(academy: Academy, app: Application) -> None:
    from sync_pipelines.engine.errors import MassDeleteError

    names = [f"c{number}" for number in range(1, 151)]
    app.create(*names)
    academy.sync(concepts())
    app.delete(*names[:120])
    with pytest.raises(MassDeleteError, match="120 of the target's 151"):
        academy.sync(concepts())
    assert len(titles(academy)) == 150
    academy.sync(concepts(), allow=True)
    assert len(titles(academy)) == 30


def test_deletions_of_what_never_came_or_is_there_again_are_none_that_the_guard_counts(
    academy: Academy, app: Application
) -> None:
    from sync_pipelines.engine.errors import MassDeleteError

    kept, fleeting = [f"c{number}" for number in range(1, 151)], [f"d{number}" for number in range(120)]
    app.create(*kept)
    academy.sync(concepts())
    app.create(*fleeting)
    app.delete(*fleeting)
    app.delete(*kept[:110])
    app.create(*kept[:109], title="again")
    counts = academy.sync(concepts())
    assert (len(titles(academy)), counts.deleted) == (149, 1)
    app.create(*fleeting)
    app.delete(*fleeting, *kept[:101])
    with pytest.raises(MassDeleteError, match="101 of the target's 150"):
        academy.sync(concepts())
    assert len(titles(academy)) == 149


def test_the_guard_is_asked_of_rows_that_went_without_an_event_of_their_own(academy: Academy, app: Application) -> None:
    from sync_pipelines.engine.errors import MassDeleteError

    names = [f"c{number}" for number in range(1, 151)]
    app.create(*names)
    academy.sync(concepts())
    app.run("DELETE FROM concept WHERE id = ANY (%s)", names[:120])
    for name in names[:120]:
        app.publish("CONTENT_UPDATED", name, {"difficulty": 2})
    with pytest.raises(MassDeleteError, match="120 records would be deleted, of 151 in all") as stopped:
        academy.sync(concepts())
    assert "100 of them were deleted before; the others were not" in str(stopped.value)
    assert len(titles(academy)) == 50  # as many as go without a question
    academy.sync(concepts(), allow=True)
    assert len(titles(academy)) == 30


@pytest.mark.parametrize("version", [None, 2_000])
def test_what_comes_and_goes_within_a_bout_is_no_loss_that_the_guard_counts(
    academy: Academy, app: Application, version: int | None
) -> None:
    from sync_pipelines.engine.errors import MassDeleteError

    few = concepts(checks={"mass_delete": {"records": 4, "share": 0.1}})
    old = [f"c{number}" for number in range(1, 11)]
    app.create(*old)
    academy.sync(few)
    consumer = TableConsumer(binding=academy.bind(few))

    def turn(*new: str) -> int:
        """These come, and one that was there goes and comes again; then these go."""
        for name in new:
            app.run("INSERT INTO concept (id, title) VALUES (%s, %s)", name, name)
            app.publish("CONTENT_CREATED", name, {"title": name}, **({"source_version": version} if version else {}))
        app.delete("c1")
        taken = consumer.step()
        app.create("c1")
        app.delete(*new)
        return taken + consumer.step()

    for number in range(4):
        assert turn(f"x{number}", f"y{number}") == 6
    assert titles(academy) == sorted(old)
    for name in old[1:5]:
        app.publish("CONTENT_CREATED", name, {"title": name})  # once more, of what is there
    assert consumer.step() == 4
    app.delete(*old[1:5])
    with pytest.raises(MassDeleteError, match="5 records would be deleted, of 12 in all"):
        consumer.step()
    assert titles(academy) == sorted(old)


def test_a_full_sync_completes_the_events_that_it_has_seen(academy: Academy, app: Application) -> None:
    app.create("c1")
    with app.transaction() as late:
        late.execute("INSERT INTO concept (id, title) VALUES ('c2', 'late')")
        publish(late, "CONTENT_CREATED", "concept", "c2")
        academy.sync(concepts(), mode="full")
        assert app.statuses("c1") == ["COMPLETED"]
    assert app.statuses("c2") == ["PENDING"]
    academy.sync(concepts())
    assert titles(academy) == ["c1", "late"]
