"""Which key a note has."""

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from sync_pipelines.engine.ledger.note_ids import NoteId
from sync_pipelines.sources.keep.identity import Seen, Signature, assign, digest, signature_from, signature_of
from sync_pipelines_tests.sources.keep.exports import FIRST, a_note, in_model


def seen(title: str = "", text: str = "", *, created: int = FIRST, node: str | None = None, name: str = "") -> Seen:
    note = in_model(a_note(title=title, textContent=text, createdTimestampUsec=created))
    return Seen(created=created, signature=signature_of(note, name=name), node=node)


def known(notes: list[Seen], keys: list[str]) -> list[NoteId]:
    return [
        NoteId(key=key, created=note.created, node=note.node, signature=note.signature.as_dict())
        for note, key in zip(notes, keys, strict=True)
    ]


_NOTES = st.lists(
    st.builds(seen, st.sampled_from("abc"), st.text("xyz\n", max_size=8), name=st.uuids().map(str)),
    min_size=1,
    max_size=6,
    unique_by=lambda note: note.signature,
)


def test_a_note_that_stands_alone_has_its_created_time_for_a_key() -> None:
    assert assign([seen()], []) == [str(FIRST)]


@given(_NOTES)
def test_no_two_notes_have_one_key(notes: list[Seen]) -> None:
    assert sorted(assign(notes, [])) == sorted([str(FIRST), *(f"{FIRST}-{n}" for n in range(2, len(notes) + 1))])


@given(_NOTES, st.randoms())
def test_the_order_of_the_files_says_nothing(notes: list[Seen], random) -> None:
    keys = dict(zip(notes, assign(notes, []), strict=True))
    shuffled = random.sample(notes, len(notes))
    assert dict(zip(shuffled, assign(shuffled, []), strict=True)) == keys


@given(_NOTES, st.randoms())
def test_an_export_that_nobody_has_edited_gives_the_same_keys(notes: list[Seen], random) -> None:
    keys = assign(notes, [])
    shuffled = random.sample(list(zip(notes, keys, strict=True)), len(notes))
    assert assign([note for note, _ in shuffled], known(notes, keys)) == [key for _, key in shuffled]


@given(_NOTES, st.data())
def test_what_is_edited_moves_no_other_note(notes: list[Seen], data: st.DataObject) -> None:
    keys = assign(notes, [])
    number = data.draw(st.integers(0, len(notes) - 1))
    edited = list(notes)
    edited[number] = seen("quite another title", "and another text")
    assert assign(edited, known(notes, keys)) == keys


@given(_NOTES)
def test_a_newcomer_beside_known_notes_takes_no_key_of_theirs(notes: list[Seen]) -> None:
    keys = assign(notes, [])
    newcomer = seen("quite another title", "and another text")
    assert assign([*notes, newcomer], known(notes, keys)) == [*keys, f"{FIRST}-{len(notes) + 1}"]


@given(_NOTES, st.data())
def test_what_is_gone_moves_no_other_note_and_its_key_is_not_given_again(notes: list[Seen], data) -> None:
    keys = assign(notes, [])
    left = data.draw(st.lists(st.sampled_from(range(len(notes))), unique=True, max_size=len(notes) - 1))
    assert assign([notes[n] for n in left], known(notes, keys)) == [keys[n] for n in left]
    newcomer = seen("new", node="node-of-its-own")
    held = [replace(item, node=f"node {item.key}") for item in known(notes, keys)]
    assert assign([newcomer], held)[0] not in keys


@given(_NOTES, st.randoms())
def test_moving_to_an_account_doubles_nothing(notes: list[Seen], random) -> None:
    """An account says ids, and no names of files."""
    keys = dict(zip(map(_content, notes), assign(notes, []), strict=False))
    live = [replace(note, node=f"id{n}", signature=replace(note.signature, name="")) for n, note in enumerate(notes)]
    live = random.sample(live, len(live))
    found = assign(live, known(notes, assign(notes, [])))
    assert sorted(found) == sorted(assign(notes, []))
    if len(keys) == len(notes):
        assert found == [keys[_content(note)] for note in live]


def _content(note: Seen) -> tuple[str, str]:
    return note.signature.title, note.signature.body


def test_an_account_that_tells_milliseconds_alone_is_known_again() -> None:
    exported = seen("a", created=FIRST + 456)
    held = known([exported], assign([exported], []))
    assert assign([seen("b", created=FIRST, node="1.a")], held) == [str(FIRST + 456)]


def test_of_two_that_were_alike_the_one_that_was_there_last_time_is_the_note() -> None:
    gone, there = known([seen("a"), seen("a")], [str(FIRST), f"{FIRST}-2"])
    found = [replace(gone, gone_at=datetime(2024, 1, 1, tzinfo=UTC)), there]
    assert assign([seen("a")], found) == [f"{FIRST}-2"]
    assert assign([seen("b")], found) == [f"{FIRST}-2"]


def test_a_node_decides_whatever_the_note_holds() -> None:
    notes = [seen("a", node="1"), seen("b", node="2")]
    held = known(notes, assign(notes, []))
    swapped = [seen("b", node="1"), seen("a", node="2")]
    assert assign(swapped, held) == [item.key for item in held]


def test_a_node_decides_over_a_likeness_to_another_note() -> None:
    held = [*known([seen("a", node="1")], ["K1"]), *known([seen("b", "text")], ["K2"])]
    assert assign([seen("b", "text", node="1")], held) == ["K1"]


def test_two_nodes_are_two_notes_however_alike() -> None:
    first = [seen("a", "text", node="1")]
    assert assign([seen("a", "text", node="2")], known(first, assign(first, []))) == [f"{FIRST}-2"]


def test_an_edited_note_is_known_by_its_likeness() -> None:
    notes = [seen("shopping", "milk\nbread\nsalt"), seen("work", "call Ann\nwrite Bob")]
    keys = assign(notes, [])
    now = [seen("work", "call Ann\nwrite Bob and Cy"), seen("shopping", "milk\nbread\nsugar")]
    assert assign(now, known(notes, keys)) == [keys[1], keys[0]]


def test_more_notes_of_one_millisecond_than_can_be_compared_have_a_key_each() -> None:
    notes = [seen(f"title {n}") for n in range(600)]
    held = known(notes, assign(notes, []))
    now = [seen(f"other {n}") for n in range(600)]
    assert sorted(assign(now, held)) == sorted(item.key for item in held)


def test_of_more_notes_than_can_be_compared_those_that_nobody_edited_keep_their_keys() -> None:
    notes = [seen(f"title {n}") for n in range(600)]
    held = known(notes, assign(notes, []))
    keys = {item.key: item.signature["title"] for item in held}
    left = [note for note in notes if note.signature.title != keys[str(FIRST)]]
    assert [keys[key] for key in assign(left, held)] == [note.signature.title for note in left]


def test_a_signature_holds_no_content() -> None:
    signature = seen("my secret title", "my secret text").signature
    assert "secret" not in repr(signature)
    assert signature_from(signature.as_dict()) == signature


def test_a_signature_of_another_version_is_read() -> None:
    assert signature_from({"title": digest("a"), "new": 1}) == Signature(title=digest("a"), body="")
