"""The 2,000 notes are always the same and are of every kind; so are the edits."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from sync_pipelines.sandbox.keep.model import COLORS, SandboxLine, SandboxNote, expected, note_of
from sync_pipelines.sandbox.keep.notes import EDITS, FIRST, edited_notes, varied_notes

NOTES = varied_notes()


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


KINDS = {
    "long": lambda note: len(note.text) > 2000,
    "very long": lambda note: len(note.text) == 100_000,
    "one long word": lambda note: units(note.text) > 2000 and not {" ", "\n"} & set(note.text),
    "100 items": lambda note: note.items is not None and 100 < len(note.items) <= 1000,
    "1000 items": lambda note: note.items is not None and len(note.items) > 1000,
    "no items": lambda note: note.items == (),
    "nested": lambda note: note.items is not None and any(line.indent and line.checked for line in note.items),
    "right to left": lambda note: any("\u0590" <= letter <= "\u06ff" for letter in note.text),
    "emoji": lambda note: "👩‍👩‍👧‍👦" in note.text,
    "control": lambda note: "\x07" in note.text,
    "no title": lambda note: not note.title and bool(note.text),
    "empty": lambda note: not note.title and not note.text and note.items is None and not note.files,
    "comma": lambda note: any("," in label for label in note.labels),
    "100 labels": lambda note: len(note.labels) > 100,
    "long link": lambda note: any(len(link.url) > 2000 for link in note.links),
    "file": lambda note: any(0 < file.length < 10**6 for file in note.files),
    "large file": lambda note: any(file.length > 20 * 2**20 for file in note.files),
    "shared": lambda note: len(note.sharees) > 1,
    "no edit": lambda note: note.edited is None,
    "pinned": lambda note: note.pinned,
    "archived": lambda note: note.archived,
    "trashed": lambda note: note.trashed,
}


@pytest.mark.parametrize("kind", KINDS)
def test_there_are_notes_of_each_kind(kind: str):
    assert sum(map(KINDS[kind], NOTES)) >= 2


def test_notes_are_the_same_for_a_seed_and_others_for_another():
    assert varied_notes(50) == varied_notes(50) == NOTES[:50]
    assert varied_notes(50, seed=8) != NOTES[:50]
    assert {note.color for note in NOTES} == set(COLORS)
    assert Counter(Counter(note.created for note in NOTES).values()) == {1: 1996, 2: 2}
    assert Counter(note.created for note in varied_notes(50, twins=0)).most_common(1)[0][1] == 1


def test_every_edit_is_made_and_what_is_not_chosen_stays():
    found = edited_notes(NOTES)
    assert set(found.kinds.values()) == set(EDITS)
    assert len(found.kinds) == 600
    assert len(found.removed) >= 20
    old = NOTES[:]
    for place in reversed(found.removed):
        del old[place]
    assert len(found.notes) == len(old) + found.added
    changed = [before for before, after in zip(old, found.notes, strict=False) if before != after]
    assert len(changed) == 600 - len(found.removed)
    assert all(after.edited > (before.edited or 0) for before, after in zip(old, found.notes, strict=False)
               if before != after and after.edited)  # fmt: skip
    assert found == edited_notes(NOTES)
    assert edited_notes(NOTES, delete=False).removed == ()
    firsts = [note.items[0] for note in found.notes if note.items]
    assert not any(line.indent for line in firsts)


def test_a_note_goes_through_json_and_back():
    for note in (*NOTES[:100], *(note for note in NOTES if note.files)):
        assert note_of(json.loads(json.dumps(note.document()))) == note


def test_what_a_source_should_make_of_it_is_told():
    note = SandboxNote(created=FIRST, title="T", items=(SandboxLine(text="a"), SandboxLine(text="b", indent=1)))
    assert [line["indent"] for line in expected(note, "k")["items"]] == [0, 1]
    assert [line["indent"] for line in expected(note, "k", flat=True)["items"]] == [0, 0]
    assert expected(note, "k")["created"] == "2017-07-14T02:40:00.123000Z"
    with pytest.raises(ValueError, match="not both"):
        SandboxNote(created=FIRST, text="a", items=())
