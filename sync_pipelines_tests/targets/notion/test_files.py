"""Files beside notes: uploaded once, kept while their bytes are away, and told where they are not on their page."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from sync_pipelines.defs.notes.page import MAX_FILE_BYTES
from sync_pipelines.engine.conflicts import Strategy
from sync_pipelines.targets.notion import records
from sync_pipelines.targets.notion.records import entry_to_json
from sync_pipelines_tests.targets.notion.conftest import Desk, attachment, note


def test_a_file_is_uploaded_once_and_one_that_is_refused_is_named(desk: Desk):
    desk.files.update({"photo.png": b"png", "sound.amr": b"amr"})
    files = [attachment("photo.png", b"png"), attachment("sound.amr", b"amr", "audio/amr")]
    mine = note(attachments=files)
    assert desk.bring(mine).counts.upserted == 1
    assert desk.holds(mine)
    assert "sound.amr was not uploaded" in desk.target.notes()["1"]
    desk.later()
    desk.forget()
    changed = note(text="other", attachments=files)
    desk.bring(changed)
    assert not [name for name in desk.requests() if name.startswith("file_uploads")]
    assert desk.holds(changed)
    other = note(text="other", attachments=[attachment("photo.png", b"PNG"), files[1]])
    desk.files["photo.png"] = b"PNG"
    desk.later()
    desk.bring(other)
    assert "file_uploads.send" in desk.requests()
    assert desk.holds(other)


def test_every_file_that_is_not_on_its_page_is_told_and_stays_told_while_it_is_named_there(desk: Desk):
    desk.files["sound.amr"] = b"amr"
    gone = [{**attachment(name, b""), "sha256": ""} for name in ("a.png", "b.png")]
    large = {**attachment("big.mov", b"", "video/quicktime"), "size": MAX_FILE_BYTES + 1}
    files = [attachment("sound.amr", b"amr", "audio/amr"), *gone, large]
    desk.bring(note("1"), note("2", attachments=files))
    told = desk.target.notes()["2"]
    names = ("sound.amr", "a.png", "b.png", "big.mov")
    for name in names:
        assert f"{name} was not uploaded: " in told
    assert desk.target.warnings() == [f"1 pages are not all that their notes are. 2: {told}."]
    desk.later()
    desk.bring(note("2", text="other", attachments=files))
    assert desk.target.notes()["2"] == told
    desk.later()
    desk.bring(note("2", text="other", attachments=files[:2]))
    assert [name for name in names if name in desk.target.notes()["2"]] == ["sound.amr", "a.png"]
    desk.later()
    desk.bring(note("2"))
    assert desk.target.warnings() == []


def test_a_file_that_was_uploaded_stays_where_the_source_lacks_its_bytes_now(desk: Desk):
    desk.files["photo.png"] = b"png"
    mine = note(attachments=[attachment("photo.png", b"png")])
    away = note(text="other", attachments=[{**attachment("photo.png", b""), "sha256": ""}])
    desk.bring(mine)
    picture = desk.outline()[-1]["id"]
    del desk.files["photo.png"]
    for given in (away, mine):  # of a part of an export that was away for a while
        desk.later()
        desk.bring(given)
        assert desk.outline()[-1]["id"] == picture
        assert desk.holds(given)
        assert desk.target.warnings() == []
    desk.later()
    desk.bring(away)
    desk.target = desk.make(Strategy.SOURCE_WINS)
    desk.hands.delete_block(picture)
    desk.bring(away)
    assert desk.texts()[-1] == "Attachment: photo.png (image/png) was not uploaded"
    assert desk.holds(away)
    desk.files["photo.png"] = b"png"
    desk.later()
    desk.bring(mine)
    assert desk.outline()[-1]["type"] == "image"
    assert desk.holds(mine)


def test_each_file_whose_bytes_came_after_its_note_was_read_is_itself_and_not_another_one(desk: Desk):
    desk.files.update({"a.png": b"a", "b.png": b"b"})
    late = [{**attachment(name, b""), "sha256": ""} for name in ("a.png", "b.png")]
    desk.bring(note(attachments=late))
    assert desk.requests().count("file_uploads.send") == 2
    assert [item["type"] for item in desk.outline()[-2:]] == ["image", "image"]


@pytest.mark.parametrize("sha", ["", hashlib.sha256(b"").hexdigest()])
def test_a_note_of_a_file_without_bytes_is_as_it_was_and_what_names_the_file_stays(desk: Desk, sha: str):
    mine = note(attachments=[{**attachment("a.amr", b"", "audio/amr"), "sha256": sha}])
    desk.bring(mine)
    assert desk.holds(mine)
    desk.later()
    names = [item["id"] for item in desk.outline()]
    desk.hands.edit_block(names[0], "by hand")
    (dispute,) = desk.bring(mine).disputes
    assert not dispute.decision.conflict
    desk.hands.edit_block(names[0], "one")
    changed = {**mine, "text": "one\ntwo\nTHREE"}
    assert desk.bring(changed).counts.upserted == 1
    assert [item["id"] for item in desk.outline()] == names
    assert desk.holds(changed)


@pytest.mark.parametrize("sha", ["", hashlib.sha256(b"").hexdigest()])
def test_what_an_older_version_noted_of_a_file_without_bytes_is_no_change(
    desk: Desk, sha: str, monkeypatch: pytest.MonkeyPatch
):
    mine = note(attachments=[{**attachment("a.amr", b"", "audio/amr"), "sha256": sha}])
    with monkeypatch.context() as older:
        older.setattr(records, "entry_to_json", lambda entry: _without_nothing(entry_to_json(entry)))
        desk.bring(mine)
    assert desk.holds(mine)
    desk.later()
    desk.hands.edit_block(desk.outline()[0]["id"], "by hand")
    (dispute,) = desk.bring(mine).disputes
    assert not dispute.decision.conflict


def _without_nothing(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if value or name == "id"}


def test_a_page_that_names_a_file_is_as_it_was_left_however_often_it_is_looked_at(desk: Desk):
    mine = note(attachments=[attachment("a.amr", b"bytes", "audio/amr")])
    desk.bring(mine)
    desk.later()
    changed = {**mine, "text": "one\ntwo\nTHREE"}
    desk.bring(changed)
    desk.later()
    assert desk.bring(changed).counts.unchanged == 1
    assert desk.holds(changed)
    desk.hands.edit_block(desk.outline()[0]["id"], "one")  # a look that is due, and nothing else
    result = desk.bring(changed)
    assert (result.counts.unchanged, result.disputes) == (1, [])
    assert desk.holds(changed)


def test_a_file_whose_name_looks_like_two_sentences_stays_told(desk: Desk):
    gone = {**attachment("a; b.png", b""), "sha256": ""}
    desk.bring(note(attachments=[gone]))
    told = desk.target.notes()["1"]
    desk.later()
    desk.bring(note(text="other", attachments=[gone]))
    assert desk.target.notes()["1"] == told
    desk.later()
    desk.bring(note(text="more", attachments=[{**gone, "name": "b.png"}]))
    assert desk.target.notes()["1"].startswith("b.png was not uploaded: ")
