"""What Notion limits: requests a second, pages a query, places of new blocks."""

from __future__ import annotations

import re
import time

import pytest

from sync_pipelines.engine.errors import RunError
from sync_pipelines.engine.ledger.rates import SharedRate
from sync_pipelines.engine.limiter import LocalRate
from sync_pipelines.sandbox.notion import calls
from sync_pipelines.sandbox.notion.api import Notion
from sync_pipelines.sandbox.notion.control import WorkspaceControl
from sync_pipelines.targets.notion.client import Notion as Connection
from sync_pipelines.targets.notion.listing import Pages
from sync_pipelines.targets.notion.properties import Columns
from sync_pipelines.targets.notion.settings import NotionSettings
from sync_pipelines_tests.targets.notion.conftest import Desk, attachment, batch_of, note


def test_two_writers_of_one_connection_keep_to_its_rate_together(desk: Desk):
    desk.hands.limit(40)
    first, second = (desk.make(rate_limit=40.0) for _ in range(2))
    first.notion = Connection(first.settings, where={})
    second.notion = Connection(second.settings, where={})
    results = [
        target.upsert([batch_of(*(note(f"{number}{index}") for index in range(12)))])
        for number, target in enumerate((first, second))
    ]
    for pair in zip(*results, strict=False):
        assert not [item for one in pair for item in one.rejected]
    assert desk.hands.summary()["limited"] == 0
    assert desk.hands.summary()["requests"] >= 24


@pytest.mark.slow
def test_two_writers_whom_the_ledger_brings_together_keep_to_notions_own_rate(desk: Desk):
    desk.hands.limit(3)
    writers = [desk.make(rate_limit=3.0) for _ in range(2)]
    for writer in writers:
        rate = SharedRate(desk.ledger, writer.settings.connection)
        writer.notion = Connection(writer.settings, rate=rate, where={})
    began = time.monotonic()
    results = [
        writer.upsert([batch_of(*(note(f"{number}{index}") for index in range(4)))])
        for number, writer in enumerate(writers)
    ]
    for pair in zip(*results, strict=True):
        assert not [item for one in pair for item in one.rejected]
    asked = desk.hands.summary()
    assert len(desk.pages()) == 8
    assert asked["limited"] <= 1, "on a busy machine one may arrive late, just before the next one"
    assert asked["most_in_a_second"] <= 4
    assert asked["requests"] >= 10
    assert time.monotonic() - began >= (asked["requests"] - 3) / 3


def test_a_listing_goes_on_behind_the_last_page_that_a_query_gives(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(calls, "MOST_RESULTS", 7)
    with Notion(key="ntn_listing") as stand_in:
        hands = WorkspaceControl.new(stand_in.url, stand_in.key)
        reached = {"token": hands.token, "base_url": hands.url, "parent_page": hands.page}
        settings = NotionSettings(user="ann", rate_limit=1000.0, **reached)
        connection = Connection(settings, rate=LocalRate(), where={})
        made = connection.ask(
            "make",
            lambda client: client.databases.create(
                parent={"type": "page_id", "page_id": hands.page},
                title=[],
                initial_data_source={"properties": settings.columns.schema()},
            ),
        )
        source = made["data_sources"][0]["id"]
        for number in range(30):
            values = settings.columns.requests({"title": "x", "key": str(number), "deleted": number % 10 == 9})
            connection.create_page(source, values, [])
            if number % 4 == 3:
                hands.advance(61)
        listed = [head.key for head in Pages(connection, source).all()]
        assert listed == [str(number) for number in range(30) if number % 10 != 9]
        assert len(list(Pages(connection, source).all(deleted=True))) == 30
        connection.close()


def test_a_first_line_arrives_also_where_notion_takes_no_place_before_the_first_block(desk: Desk):
    desk.bring(note(text="b\nc"))
    first = desk.outline()[0]["id"]
    desk.later()
    desk.hands.fault("400", endpoint="blocks.children.append", times=1)
    mine = note(text="a\nb\nc")
    assert not desk.bring(mine).rejected
    assert desk.texts() == ["a", "b", "c"]
    assert desk.outline()[0]["id"] == first
    assert desk.holds(mine)
    desk.later()
    mine = note(text="z\na\nb\nc")
    desk.bring(mine)
    assert desk.holds(mine)


def test_a_connection_that_may_not_read_comments_marks_a_page_rather_than_trash_it(desk: Desk):
    desk.bring(note())
    desk.hands.restrict(desk.hands.token, "read_comments")
    desk.target = desk.make(on_delete="trash")
    assert desk.target.delete(["1"]).deleted == 1
    assert desk.target.count() == 0
    assert len(desk.pages()) == 1
    (told,) = desk.target.notes().values()
    assert "not put into the trash" in told
    assert "capability to read comments" in told


def test_a_connection_that_may_not_read_comments_removes_no_block_and_says_what_it_lacks(desk: Desk):
    desk.bring(note(), note("2"))
    desk.hands.restrict(desk.hands.token, "read_comments")
    desk.target = desk.make()
    desk.later()
    before = desk.outline(next(row["id"] for row in desk.pages() if row["title"] == "Note 1"))
    result = desk.bring(note(text="one\nnew"), note("2", "one\ntwo\nthree\nfour"))
    (refused,) = result.rejected
    assert refused.key == "1"
    assert "capability to read comments" in refused.reason
    assert desk.outline(next(row["id"] for row in desk.pages() if row["title"] == "Note 1")) == before
    assert result.counts.upserted == 1  # a note that loses no line needs no such look


def test_a_database_that_goes_while_notes_are_written_ends_the_run_and_blames_no_note(desk: Desk):
    database = desk.target.records.database()
    assert database is not None
    sent = 0

    def take_away() -> None:
        nonlocal sent
        sent += 1
        if sent == 2:
            desk.hands.trash_database(database.database)

    desk.target.fence(take_away)
    with pytest.raises(RunError, match="in the trash"):
        desk.bring(*(note(str(number)) for number in range(1, 5)))


def test_a_connection_that_may_not_write_ends_the_run_with_what_it_lacks(desk: Desk):
    desk.hands.restrict(desk.hands.token, "insert_content")
    with pytest.raises(RunError, match="capabilities"):
        desk.bring(note())


def test_a_property_that_somebody_renamed_or_changed_is_named_by_whoever_needs_it_and_blames_no_note(desk: Desk):
    desk.bring(note())
    source = desk.target.source_id
    desk.hands.rename_property(source, "Keep ID", "Id")
    for act in (desk.target.count, lambda: desk.bring(note(), note("2"))):
        with pytest.raises(RunError, match="lacks 'Keep ID'") as raised:
            act()
        assert "call it so again" in str(raised.value)
    desk.target.require_there()  # a run adds it
    desk.target.prepare()
    assert desk.target.existing(["1"]) == []
    desk.hands.delete_property(source, "Pinned")
    desk.hands.client().data_sources.update(source, properties={"Pinned": {"number": {}}})
    for act in (desk.target.require_there, desk.target.prepare, lambda: desk.bring(note("3"))):
        with pytest.raises(RunError, match="'Pinned' is number, not checkbox"):
            act()


def test_the_title_of_an_existing_database_is_told_to_be_mapped_or_renamed_and_never_to_be_added(desk: Desk):
    parent = {"type": "page_id", "page_id": desk.hands.page}
    schema = {name: kind for name, kind in Columns().schema().items() if name not in ("Title", "Labels")}
    client = desk.hands.client()
    made = client.databases.create(
        parent=parent, title=[], initial_data_source={"properties": {"Name": {"title": {}}} | schema}
    )
    source = made["data_sources"][0]["id"]

    def refused(properties: dict[str, str]) -> str:
        target = desk.make(parent_page=None, database=made["id"], columns=Columns(properties))
        with pytest.raises(RunError) as raised:
            target.prepare()
        with pytest.raises(RunError, match=re.escape(raised.value.message)):
            target.require_there()
        return str(raised.value)

    told = refused({})
    assert "need: 'Labels' (multi_select)." in told
    assert "Its title is called 'Name': call it 'Title' in Notion, or write `properties: {title: \"Name\"}`" in told
    assert "title" not in refused({"title": "Name"})
    client.data_sources.update(source, properties={"Labels": {"multi_select": {}}})
    told = refused({})
    assert "The title of the Notion database is not called 'Title'." in told
    assert "Add" not in told
    client.data_sources.update(source, properties={"Title": {"rich_text": {}}})
    assert 'write `properties: {title: "Name"}`' in refused({})
    desk.make(parent_page=None, database=made["id"], columns=Columns({"title": "Name"})).prepare()


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ('a"b/c\\d\x00\n\u202e.png', "abcd⟨U+0000⟩.png"),
        ("../../scan.png", "....scan.png"),
        ('"', "file.png"),
        ("no ending", "no ending.png"),
        ("ends with.", "ends with..png"),
        ("to Mr. Smith", "to Mr. Smith.png"),
        ("../elsewhere", "..elsewhere.png"),
        ("é" * 900 + ".png", "é" * 400 + ".png"),
        ("a." + "b" * 2000, "a." + "b" * 798 + ".png"),
    ],
)
def test_a_file_of_any_name_is_uploaded_under_one_that_notion_takes(
    desk: Desk, name: str, sent: str, monkeypatch: pytest.MonkeyPatch
):
    asked, upload = [], desk.target.notion.upload
    monkeypatch.setattr(desk.target.notion, "upload", lambda *given: (asked.append(given[0]), upload(*given))[1])
    desk.files[name] = b"bytes"
    mine = note(attachments=[attachment(name, b"bytes")])
    assert desk.bring(mine).counts.upserted == 1
    assert (asked, desk.target.notes()) == ([sent], {})
    assert desk.holds(mine)


def test_bytes_that_a_note_has_twice_are_uploaded_once(desk: Desk):
    desk.files.update({"a.png": b"png", "b.png": b"png"})
    mine = note(attachments=[attachment(name, b"png") for name in desk.files])
    desk.bring(mine)
    assert desk.requests().count("file_uploads.send") == 1
    assert desk.holds(mine)
