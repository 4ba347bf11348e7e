"""Exports are written as Takeout writes them, with all that makes them awkward."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sync_pipelines.sandbox.keep.model import SandboxFile, SandboxLine, SandboxLink, SandboxNote
from sync_pipelines.sandbox.keep.notes import FIRST, varied_notes
from sync_pipelines.sandbox.keep.takeout import FOLDERS, document, write_takeout

NOTE = SandboxNote(created=FIRST, edited=FIRST + 1000, title="Bread", text="Flour <&\nwater")
PICTURE = SandboxFile(name="a.jpeg", mime="image/jpeg", content=b"a picture")


def files(part: Path) -> dict[str, bytes]:
    if part.suffix == ".zip":
        with zipfile.ZipFile(part) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    return {str(path.relative_to(part)): path.read_bytes() for path in part.rglob("*") if path.is_file()}


def notes_in(*parts: Path) -> list[dict[str, Any]]:
    found = [files(part) for part in parts]
    return [json.loads(text) for held in found for name, text in held.items() if name.endswith(".json")]


def test_a_note_has_the_fields_that_takeout_gives_it():
    assert document(NOTE) == {
        "color": "DEFAULT",
        "isTrashed": False,
        "isPinned": False,
        "isArchived": False,
        "title": "Bread",
        "createdTimestampUsec": FIRST,
        "userEditedTimestampUsec": FIRST + 1000,
        "textContent": "Flour <&\nwater",
        "textContentHtml": '<p dir="auto"><span>Flour &lt;&amp;</span></p><p dir="auto"><span>water</span></p>',
    }
    items = (SandboxLine(text="a"), SandboxLine(text="b", checked=True, indent=1))
    rich = replace(
        NOTE,
        text="",
        items=items,
        edited=None,
        labels=("x",),
        links=(SandboxLink(url="https://example.com/", title="t"),),
        files=(PICTURE,),
        sharees=("ann@example.com", "ben@example.com"),
    )
    found = document(rich)
    assert [(line["text"], line["isChecked"], set(line)) for line in found["listContent"]] == [
        ("a", False, {"text", "textHtml", "isChecked"}),
        ("b", True, {"text", "textHtml", "isChecked"}),
    ]
    assert not {"textContent", "userEditedTimestampUsec"} & set(found)
    assert found["labels"] == [{"name": "x"}]
    assert found["attachments"] == [{"filePath": "a.jpeg", "mimetype": "image/jpeg"}]
    assert found["annotations"][0]["source"] == "WEBLINK"
    assert [one["isOwner"] for one in found["sharees"]] == [True, False]


def test_files_are_named_by_title_with_a_number_for_doubles_or_by_time(tmp_path: Path):
    notes = [NOTE, NOTE, replace(NOTE, title="bread"), replace(NOTE, title=""), replace(NOTE, title="a/b: c?")]
    part = write_takeout(notes, tmp_path)[0]
    names = {name for name in files(part) if name.endswith(".json")}
    assert names == {
        f"Takeout/Keep/{name}.json"
        for name in ("Bread", "Bread(1)", "bread(2)", "2017-07-14T12_40_00.123+10_00", "a_b_ c_")
    }


@pytest.mark.parametrize("language", FOLDERS)
@pytest.mark.parametrize("form", ["folder", "zip"])
def test_parts_hold_all_notes_and_their_files_in_another_part(language: str, form: str, tmp_path: Path):
    notes = [replace(NOTE, created=FIRST + 1000 * number, files=(PICTURE,)[: number == 0]) for number in range(7)]
    parts = write_takeout(notes, tmp_path, form=form, parts=3, language=language, html_pages=True)
    assert len(parts) == 3
    assert {one["createdTimestampUsec"] for one in notes_in(*parts)} == {note.created for note in notes}
    assert [len(notes_in(part)) for part in parts] == [3, 2, 2]
    base = f"Takeout/{FOLDERS[language]}"
    assert files(parts[1])[f"{base}/a.jpeg"] == b"a picture"
    assert f"{base}/Bread.html" in files(parts[0])


def test_a_picture_can_have_another_extension_than_its_note_says(tmp_path: Path):
    part = write_takeout([replace(NOTE, files=(PICTURE,))], tmp_path, other_extension=True)[0]
    assert "Takeout/Keep/a.jpg" in files(part)
    assert notes_in(part)[0]["attachments"][0]["filePath"] == "a.jpeg"


def test_a_large_file_takes_no_room_on_disk(tmp_path: Path):
    huge = SandboxFile(name="huge.png", mime="image/png", size=64 * 1024 * 1024)
    part = write_takeout([replace(NOTE, files=(huge,))], tmp_path)[0]
    status = (part / "Takeout/Keep/huge.png").stat()
    assert status.st_size == huge.length == 64 * 1024 * 1024
    assert status.st_blocks * 512 < 1024 * 1024


def test_an_export_of_2000_notes_loses_none(tmp_path: Path):
    notes = varied_notes(2000)
    parts = write_takeout(notes, tmp_path, parts=2)
    found = sorted(notes_in(*parts), key=json.dumps)
    assert found == sorted(map(document, notes), key=json.dumps)
