"""One page a note, whatever answer is lost and wherever it stops; a refused page stops itself alone."""

from __future__ import annotations

import time

import pytest

from sync_pipelines.defs.notes.page import page_of
from sync_pipelines.engine.conflicts import Strategy
from sync_pipelines.engine.errors import ConfigurationError, RunError, TransientError
from sync_pipelines.engine.model import FINGERPRINT
from sync_pipelines.targets.notion.errors import DoubtfulError
from sync_pipelines.targets.notion.objects import require_object
from sync_pipelines.targets.retries import RetryPolicy
from sync_pipelines_tests.spare import spare
from sync_pipelines_tests.targets.notion.conftest import Desk, attachment, batch_of, note

LONG = note(text="\n".join(f"line {number}" for number in range(120)))
EDITED = note(text="new\n" + "\n".join(f"line {number}" for number in range(20, 119)) + "\nlast")


def whole(desk: Desk, mine: dict) -> bool:
    """Whether the page of a note holds what it is to hold, and nothing twice."""
    (page,) = {head.id for head in desk.target.pages.named([mine["id"]])}
    return desk.holds(mine) and len(desk.outline(page)) == len(page_of(mine)["blocks"])


class Killed(BaseException):
    """Stands for SIGKILL: nothing behind it runs."""


@pytest.mark.parametrize("fault", ["drop", "504", "html", "json"])
@pytest.mark.parametrize("effect", [True, False])
def test_a_lost_answer_at_any_request_of_a_new_page_leaves_one_page(desk: Desk, fault: str, effect: bool):
    for number in range(1, 6):
        mine = {**LONG, "id": str(number)}
        desk.hands.fault(fault, at=number, effect=effect)
        desk.bring(mine)
        desk.hands.clear_faults()
        assert whole(desk, mine)
        assert len(desk.pages()) == number


def test_a_file_is_on_its_page_although_the_answer_to_its_upload_was_lost(desk: Desk):
    desk.files["photo.png"] = b"png"
    for number, endpoint in enumerate(("file_uploads.create", "file_uploads.send")):
        mine = note(str(number), attachments=[attachment("photo.png", b"png")])
        desk.hands.fault("drop", endpoint=endpoint, effect=True, times=1)
        desk.bring(mine)
        assert desk.target.notes() == {}
        assert whole(desk, mine)


@pytest.mark.parametrize("endpoint", ["pages.create", "blocks.children.append"])
def test_what_was_perhaps_done_is_not_done_again_before_a_search_has_been_answered(desk: Desk, endpoint: str):
    desk.target = desk.make(retry=RetryPolicy(attempts=12, sleep=lambda _: None))
    desk.target.notion.us  # noqa: B018 - asked once a process
    first, look = note(text="a\nb"), "data_sources.query" if endpoint == "pages.create" else "blocks.children.list"
    if endpoint != "pages.create":
        desk.bring(first)
        desk.later()
    # the answer is lost, and so are those to the searches for what it did: each of them is tried twelve times
    desk.hands.fault("drop", endpoint=endpoint, effect=True, times=1)
    _fail_after(desk, endpoint, look, times=15)
    desk.bring(note(text="a\nb\nc"))
    assert desk.texts() == ["a", "b", "c"]


def _fail_after(desk: Desk, endpoint: str, look: str, *, times: int) -> None:
    """So many of the looks fail that follow the first of the requests to the endpoint."""
    sent = 0

    def before() -> None:
        nonlocal sent
        sent += 1
        if sent == 1:
            desk.hands.fault("503", endpoint=look, times=times)

    desk.target.fence(before)


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "effect"), [("drop", True), ("drop", False), ("json", True)])
def test_a_lost_answer_at_any_request_of_a_change_leaves_one_equal_page(desk: Desk, fault: str, effect: bool):
    for number in range(1, 30):
        mine, changed = {**LONG, "id": "1"}, {**EDITED, "id": "1"}
        desk.bring(mine if number % 2 else changed)
        desk.later()
        desk.forget()
        desk.hands.fault(fault, at=number, effect=effect)
        last = changed if number % 2 else mine
        assert not desk.bring(last).rejected
        desk.hands.clear_faults()
        assert whole(desk, last)
        assert len(desk.pages()) == 1
        if len(desk.requests()) < number:
            return


@pytest.mark.slow
@pytest.mark.parametrize("before", [True, *spare(False)])
def test_a_crash_at_any_write_is_finished_by_the_next_run(desk: Desk, before: bool):
    desk.files["photo.png"] = b"png"
    files = [attachment("photo.png", b"png")]
    for number in range(1, 12):
        key = str(number)
        first, second = ({**item, "id": key, "attachments": files} for item in (LONG, EDITED))
        for mine in (first, second):
            _crash(desk, mine, number, before=before)
            desk.target = desk.make()
            result = desk.bring(mine)
            assert not result.kept, (number, mine["text"][:5], result.kept)
            assert whole(desk, mine)
            desk.later()
        assert len([row for row in desk.pages() if row["title"] == "Note 1"]) == number


def _crash(desk: Desk, mine: dict, at: int, *, before: bool) -> None:
    """Bring a note, and die at its so-manieth write: before it is sent, or when its answer is there."""
    sent = 0

    def die() -> None:
        nonlocal sent
        sent += 1
        if sent == at + (not before):
            raise Killed

    desk.target.fence(die)
    try:
        desk.bring(mine)
    except Killed:
        return


def test_a_change_that_was_cut_off_is_undone_where_keep_takes_it_back_within_the_minute(desk: Desk):
    first, changed = note(text="one\ntwo"), note(text="one\nchanged")
    desk.bring(first)  # by one request, so that it counts as unedited in its own minute
    _crash(desk, changed, 2, before=True)  # the line is written, the fingerprint is not
    assert desk.texts() == ["one", "changed"]
    desk.target = desk.make()
    desk.bring(first)
    assert desk.texts() == ["one", "two"]
    assert desk.prints() == {"1": batch_of(first).column(FINGERPRINT).to_pylist()[0]}


def test_a_change_that_was_cut_off_is_nobodys_edit_wherever_in_the_text_it_was(desk: Desk):
    changes = [
        ("one\ntwo", "one\nbetween\ntwo", 2),
        ("one\ntwo\nthree", "", 2),
        ("same\nx\nsame\nsame", "same", 4),
        ("a\nb\nc", "c\na\nb", 3),
    ]
    for number, (first, changed, at) in enumerate(changes):
        desk.bring(note(str(number), first))
        desk.later()
        _crash(desk, note(str(number), changed), at, before=True)
        desk.target = desk.make()
        last = note(str(number), f"{changed}\nmore")
        assert not desk.bring(last).kept, changed
        assert whole(desk, last)


def test_a_line_that_a_person_removed_stays_away_where_the_merge_that_left_it_was_cut_off(desk: Desk):
    desk.target = desk.make(Strategy.MERGE)
    desk.bring(note(text="one\ntwo\nthree"))
    desk.later()
    desk.hands.delete_block(desk.outline()[1]["id"])
    changed = note(text="ONE\ntwo\nthree\nfour")
    _crash(desk, changed, 2, before=True)
    assert desk.texts() == ["ONE", "three"]
    desk.target = desk.make(Strategy.MERGE)
    desk.bring(changed)
    assert desk.texts() == ["ONE", "three", "four"]


def test_a_line_that_a_person_removed_is_no_line_that_a_merge_was_making_when_it_was_cut_off(desk: Desk):
    desk.target = desk.make(Strategy.MERGE)
    desk.bring(note(text="one\ntwo\nthree"))  # by one request: it is on record of no block which one it is
    desk.later()
    desk.hands.delete_block(desk.outline()[2]["id"])
    desk.later()
    _crash(desk, note(text="two\nthree\nnew"), 2, before=False)
    assert desk.texts() == ["two", "new"]
    desk.target = desk.make(Strategy.MERGE)
    desk.bring(note(text="two\nthree\nmore"))
    assert desk.texts() == ["two", "more"]


@pytest.mark.parametrize("what", ["a change", "a new page"])
def test_records_of_a_backup_that_was_made_in_midst_of_a_write_double_no_line(desk: Desk, what: str):
    if what == "a change":
        desk.bring(note(text="one\ntwo"))
        desk.later()
    _crash(desk, LONG if what == "a new page" else note(text="one\nbetween\ntwo"), 2, before=True)
    backup = list(desk.target.records.of(["1"]).values())
    last = note(text="one\nlast\nof all")
    desk.target = desk.make()
    for mine in (note(text="one\nbetween\ntwo"), last):
        desk.bring(mine)
        desk.later()
    desk.hands.add_block(desk.page(), "theirs")
    desk.later()
    desk.target.records.keep(backup)
    for _ in range(2):
        assert not desk.bring(last).kept
        desk.later()
        assert desk.texts() == ["one", "last", "of all", "theirs"]


def test_what_fails_for_good_ends_the_run_and_the_next_one_goes_on(desk: Desk):
    desk.hands.fault("503", endpoint="pages.create")
    with pytest.raises(TransientError):
        desk.bring(note())
    desk.hands.clear_faults()
    desk.bring(note())
    assert desk.holds(note())
    assert len(desk.pages()) == 1


def test_json_that_says_nothing_ends_the_run_in_a_sentence_and_a_discussed_line_is_not_taken_for_a_free_one(desk: Desk):
    desk.bring(note())
    desk.later()
    line = desk.outline()[1]["id"]
    desk.hands.comment(line, "why?")
    desk.hands.fault("json", endpoint="comments.list")
    with pytest.raises(TransientError, match="JSON that is none of Notion's objects: could not look for comments"):
        desk.bring(note(text="one\nthree"))
    assert desk.texts() == ["one", "two", "three"]


_PAGE = {"object": "page", "id": "a", "properties": {}, "created_time": "t", "last_edited_time": "t"}
_LIST = {"object": "list", "results": [_PAGE], "has_more": False, "next_cursor": None}


_WIKI = {**_LIST, "results": [{"object": "data_source", "id": "c"}]}


@pytest.mark.parametrize("answer", [_PAGE, _LIST, _WIKI, {**_LIST, "has_more": True, "next_cursor": "b"}])
def test_an_object_of_notion_is_taken_as_it_is(answer: object):
    assert require_object(answer, "do so", host="h") is answer


@pytest.mark.parametrize(
    "answer",
    [
        None, [], "x", {}, {"results": [], "has_more": False}, {"object": "error", "status": 500},
        {**_LIST, "results": None}, {**_LIST, "results": [{}]}, {**_LIST, "has_more": None},
        {**_LIST, "has_more": True}, {**_PAGE, "properties": None}, {"object": "page", "id": "a"},
    ],
)  # fmt: skip
def test_what_lacks_a_part_of_an_object_of_notion_is_no_answer(answer: object):
    with pytest.raises(DoubtfulError, match="h answers with JSON that is none of Notion's objects: could not do so"):
        require_object(answer, "do so", host="h")


def test_a_page_that_notion_refuses_is_rejected_with_its_reason_and_the_rest_goes_on(desk: Desk):
    desk.hands.fault("400", endpoint="pages.create", at=2)
    result = desk.bring(note(), note("2"), note("3"))
    assert [item.key for item in result.rejected] == ["2"]
    assert result.counts.upserted == 2


@pytest.mark.parametrize("status", ["409", "429", "500", "502", "503", "504", "529"])
def test_what_may_pass_is_tried_again(desk: Desk, status: str):
    desk.hands.fault(status, at=2, times=2)
    assert desk.bring(note()).counts.upserted == 1
    assert len(desk.pages()) == 1


def test_a_rest_of_more_than_a_minute_is_kept(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    asked: list[float] = []
    monkeypatch.setattr(desk.target.notion._limiter, "pause", asked.append)
    desk.hands.fault("429", at=1, retry_after="90")
    desk.bring(note())
    assert asked == [90.0]


def test_who_waits_for_an_answer_is_told_of_a_rest_rather_than_left_waiting(desk: Desk):
    desk.bring(note())
    desk.target.notion._limiter.pause(300)
    began = time.monotonic()
    with pytest.raises(TransientError, match=r"the connection is to rest for (300|299) s more"):
        desk.target.require_there()
    assert time.monotonic() - began < 5


def test_a_revoked_token_and_a_database_that_is_gone_end_the_run_with_a_remedy(desk: Desk):
    desk.bring(note())
    found = desk.target.records.database()
    assert found is not None
    desk.hands.trash_database(found.database)
    with pytest.raises(RunError, match="trash"):
        desk.target.prepare()
    desk.hands.restore_database(found.database)
    desk.target.prepare()
    desk.hands.revoke(desk.hands.token)
    with pytest.raises(ConfigurationError, match="token") as raised:
        desk.target.count()
    assert "`sync-pipelines users rotate ann`" in str(raised.value)  # `users add` refuses a name that is taken


def test_the_database_is_made_once_also_where_the_answer_is_lost(desk: Desk):
    desk.ledger.forget_pages("notes", "pages:ann")
    target = desk.make(title="Another")
    desk.hands.fault("drop", endpoint="databases.create", effect=True, times=1)
    target.prepare()
    again = desk.make(title="Another")
    desk.ledger.forget_pages("notes", "pages:ann")
    again.prepare()
    assert again.source_id == target.source_id


def test_a_database_of_the_same_title_that_somebody_else_made_is_left_alone(desk: Desk):
    desk.ledger.forget_pages("notes", "pages:ann")
    token = desk.hands.connect("Another", shared=[desk.hands.page])["token"]
    parent = {"type": "page_id", "page_id": desk.hands.page}
    title, schema = [{"text": {"content": "Another"}}], {"properties": {"Name": {"title": {}}}}
    theirs = desk.hands.client(auth=token).databases.create(parent=parent, title=title, initial_data_source=schema)
    desk.hands.share(desk.hands.token, theirs["id"])
    target = desk.make(title="Another")
    target.prepare()
    assert target.source_id != theirs["data_sources"][0]["id"]


def test_an_existing_database_must_have_the_properties_and_a_made_one_gets_them(desk: Desk):
    source = desk.target.source_id
    desk.hands.delete_property(source, "Pinned")
    desk.target.prepare()
    desk.bring(note())
    assert desk.holds(note())
    desk.hands.delete_property(source, "Color")
    desk.ledger.forget_pages("notes", "pages:ann")
    with pytest.raises(RunError, match=r"'Color' \(select\)"):
        desk.make(data_source=source).prepare()
