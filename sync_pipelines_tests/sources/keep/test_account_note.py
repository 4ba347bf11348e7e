"""Nodes of an account, as odd as Keep tells them."""

from typing import Any

import pytest

from sync_pipelines.sources.keep.account_note import created_of, parse
from sync_pipelines.sources.keep.model import ContractError, Item, Note, Sharee

NEVER, CREATED = "1970-01-01T00:00:00.000Z", "2026-01-31T09:15:00.123Z"


def a_node(**changes: Any) -> dict[str, Any]:
    times = {"created": CREATED, "updated": CREATED, "trashed": NEVER, "deleted": NEVER}
    return {"id": "1.a", "type": "NOTE", "parentId": "root", "title": "", "timestamps": times, **changes}


def line(key: str, **more: Any) -> dict[str, Any]:
    return {"id": key, "type": "LIST_ITEM", "parentId": "1.a", "text": key, **more}


def read(node: dict[str, Any], *children: dict[str, Any], labels: dict[str, str] | None = None) -> Note:
    return parse(node, children, labels or {}, lambda _: None)


def test_what_keep_leaves_out_has_its_usual_value() -> None:
    note = read(a_node())
    assert (note.text, note.color, note.pinned, note.archived, note.trashed) == ("", "DEFAULT", False, False, False)
    assert (note.edited, note.created_usec % 1_000_000) == (None, 123_000)


def test_a_label_that_was_taken_off_is_none() -> None:
    given = [
        {"labelId": "a", "deleted": NEVER},
        {"labelId": "b", "deleted": "2026-01-31T09:15:00.123Z"},
        {"labelId": "c"},
        {"labelId": "unknown"},
    ]
    labels = {"a": "food", "b": "work", "c": "art"}
    assert read(a_node(labelIds=given), labels=labels).labels == ("art", "food")


def test_lines_stand_as_keep_shows_them() -> None:
    found = read(
        a_node(type="LIST"),
        line("low", sortValue="5"),
        line("inner 2", superListItemId="high", sortValue="1"),
        line("high", sortValue="70"),
        line("inner 1", superListItemId="high", sortValue="2", checked=True),
    )
    told = [("high", False, 0), ("inner 1", True, 1), ("inner 2", False, 1), ("low", False, 0)]
    assert found.items == tuple(Item(text=text, checked=checked, indent=indent) for text, checked, indent in told)


@pytest.mark.parametrize("above", ["gone", "second", "first"])
def test_a_line_below_none_is_an_upper_one(above: str) -> None:
    lines = line("first", superListItemId=above), line("second", superListItemId="first")
    found = read(a_node(type="LIST"), *lines)
    assert found.items is not None
    assert sorted(item.text for item in found.items) == ["first", "second"]
    assert {item.indent for item in found.items} == {0}


def test_a_note_was_trashed_where_the_time_of_it_is_later_than_the_epoch() -> None:
    times = {"created": CREATED, "trashed": "2026-02-01T00:00:00.000Z", "userEdited": NEVER}
    note = read(a_node(timestamps=times))
    assert (note.trashed, note.edited) == (True, None)


def test_who_shares_a_note_is_told_with_who_owns_it() -> None:
    roles = [{"email": "b@x", "role": "W"}, {"email": "a@x", "role": "O"}, {"role": "W"}]
    assert read(a_node(roleInfo=roles)).sharees == (Sharee(email="a@x", owner=True), Sharee(email="b@x"))


@pytest.mark.parametrize("times", [{}, {"created": 5}, {"created": "yesterday"}])
def test_a_note_without_a_time_is_refused(times: dict[str, Any]) -> None:
    with pytest.raises(ContractError, match=r"timestamps\.created"):
        read(a_node(timestamps=times))
    assert created_of(a_node(timestamps=times)) is None
