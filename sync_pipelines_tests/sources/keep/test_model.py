"""A note and its canonical JSON."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_pipelines.sources.keep.model import COLORS, Attachment, ContractError, Item, Link, Note, Sharee, from_json

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_FILLED = _TEXT.filter(bool)
_TIMES = st.datetimes(datetime(2013, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
_ITEMS = st.lists(st.builds(Item, text=_TEXT, checked=st.booleans()), max_size=4).map(tuple)
_SHAREES = st.lists(st.builds(Sharee, email=_FILLED, owner=st.booleans()), max_size=3)
_FILES = st.lists(
    st.builds(Attachment, name=_FILLED, mime=_TEXT, size=st.integers(0, 10**12), sha256=st.just("a" * 64)),
    max_size=3,
    unique_by=lambda item: item.name,
)


@st.composite
def notes(draw: st.DrawFn) -> Note:
    is_list = draw(st.booleans())
    return Note(
        id=draw(_FILLED),
        title=draw(_TEXT),
        text=None if is_list else draw(_TEXT),
        items=draw(_ITEMS) if is_list else None,
        labels=tuple(sorted(draw(st.sets(_FILLED, max_size=3)))),
        color=draw(st.sampled_from(COLORS)),
        pinned=draw(st.booleans()),
        archived=draw(st.booleans()),
        trashed=draw(st.booleans()),
        links=tuple(draw(st.lists(st.builds(Link, url=_FILLED, title=_TEXT, description=_TEXT), max_size=2))),
        attachments=tuple(draw(_FILES)),
        sharees=tuple(sorted(draw(_SHAREES), key=lambda sharee: sharee.email)),
        created=draw(_TIMES),
        edited=draw(st.none() | _TIMES),
    )


def a_note() -> Note:
    return from_json(
        '{"archived":false,"attachments":[],"color":"RED","created":"2026-01-31T09:15:00.123000Z","edited":null,'
        '"id":"7","items":null,"labels":["a","b"],"links":[],"pinned":true,"sharees":[],"text":"x","title":"",'
        '"trashed":false}'
    )


@given(notes())
def test_a_note_is_the_same_after_its_json(note: Note) -> None:
    assert from_json(note.to_json()) == note
    assert from_json(note.to_json()).to_json() == note.to_json()


def test_the_json_is_one_text_whoever_writes_it() -> None:
    assert a_note().to_json() == (
        '{"archived":false,"attachments":[],"color":"RED","created":"2026-01-31T09:15:00.123000Z","edited":null,'
        '"id":"7","items":null,"labels":["a","b"],"links":[],"pinned":true,"sharees":[],"text":"x","title":"",'
        '"trashed":false}'
    )


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("id", "", "id"),
        ("title", None, "title"),
        ("text", None, "text"),
        ("items", (), "text"),
        ("text", "half \ud83d", "text"),
        ("color", "MAUVE", "color"),
        ("pinned", 1, "pinned"),
        ("labels", ("b", "a"), "labels"),
        ("labels", ("a", "a"), "labels"),
        ("created", datetime(2026, 1, 1), "created"),
        ("edited", datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1))), "edited"),
        ("sharees", (Sharee(email="b@x"), Sharee(email="a@x")), "sharees"),
        ("attachments", (Attachment(name="a", mime="", size=0, sha256=""),) * 2, "attachments.name"),
    ],
)
def test_nonsense_is_refused_with_the_field(field: str, value: object, named: str) -> None:
    with pytest.raises(ContractError) as caught:
        replace(a_note(), **{field: value})
    assert caught.value.field == named


def test_a_list_begins_with_an_upper_line() -> None:
    with pytest.raises(ContractError, match=r"items\.indent"):
        replace(a_note(), text=None, items=(Item(text="x", indent=1),))


def test_of_bytes_that_are_not_there_no_size_is_told() -> None:
    with pytest.raises(ContractError, match=r"attachments\.size"):
        Attachment(name="a.jpg", mime="image/jpeg", size=5, sha256="")


@pytest.mark.parametrize(
    "change",
    [{"more": 1}, {"labels": "a"}, {"created": "yesterday"}, {"created": "2026-02-31T09:15:00.123000Z"}, {"items": 5}],
)
def test_json_of_another_form_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ContractError):
        from_json(json.dumps(json.loads(a_note().to_json()) | change))


def test_an_error_does_not_quote_the_note() -> None:
    with pytest.raises(ContractError) as caught:
        from_json(json.dumps(json.loads(a_note().to_json()) | {"color": "my diary"}))
    assert "diary" not in str(caught.value)
