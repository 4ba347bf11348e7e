"""The real gkeepapi reads the stand-in of Keep: all of it, what changed, in pages, and through trouble."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import gkeepapi
import httpx
import pytest
import requests
from gkeepapi import exception
from gkeepapi.node import Blob, List, NodeTimestamps, TopLevelNode

from sync_pipelines.sandbox.keep.api import Fault
from sync_pipelines.sandbox.keep.model import SandboxFile, SandboxLine, SandboxNote, expected, spell
from sync_pipelines.sandbox.keep.notes import FIRST, edit, varied_notes
from sync_pipelines.sandbox.keep.server import KeepServer
from sync_pipelines.sandbox.stand_ins.control import Refused
from sync_pipelines_tests.sandbox.keep.conftest import Ours

PICTURE = SandboxFile(name="a.png", mime="image/png", content=b"\x89PNG of ours")
BREAD = SandboxNote(created=FIRST, edited=FIRST + 1000, title="Bread", text="Flour\nwater", labels=("home", "a,b"))
ITEMS = (
    SandboxLine(text="top"),
    SandboxLine(text="below", checked=True, indent=1),
    SandboxLine(text="also below", indent=1),
    SandboxLine(text="last", checked=True),
)
TASKS = SandboxNote(created=FIRST + 5000, edited=FIRST + 6000, title="Tasks", items=ITEMS, pinned=True, color="TEAL")


def told(node: TopLevelNode) -> dict[str, Any]:
    """A note as gkeepapi has it, in the words of the canonical JSON."""
    found = node.items if isinstance(node, List) else None
    items = (
        None
        if found is None
        else [{"text": item.text, "checked": item.checked, "indent": int(item.indented)} for item in found]
    )
    return {
        "id": node.id,
        "title": node.title,
        "text": node.text if items is None else None,
        "items": items,
        "labels": sorted(label.name for label in node.labels.all()),
        "color": node.color.value,
        "pinned": node.pinned,
        "archived": node.archived,
        "trashed": node.trashed,
        "links": [
            {"url": link.url, "title": link.title, "description": link.description} for link in node.annotations.links
        ],
        "attachments": len(node.blobs),
        "sharees": sorted(node.collaborators.all()),
        "created": _spelled(node.timestamps.created),
        "edited": None if node.timestamps.edited is None else _spelled(node.timestamps.edited),
    }


def _spelled(moment: Any) -> str:
    return spell(round((moment - NodeTimestamps.int_to_dt(0)).total_seconds() * 1_000_000))


def wanted(note: SandboxNote, key: str) -> dict[str, Any]:
    found = expected(note, key, bytes_there=False)
    return {
        **found,
        "attachments": len(note.files),
        "sharees": sorted(one["email"] for one in found["sharees"]),
    }


def all_of(keep: gkeepapi.Keep) -> dict[str, Any]:
    return {node.id: told(node) for node in keep.all()}


def test_notes_of_every_kind_are_read_as_they_are(ours: Ours):
    notes = varied_notes(220)
    ids = ours.put(*notes)
    assert all_of(ours.keep()) == {key: wanted(note, key) for key, note in zip(ids, notes, strict=True)}


def test_a_list_keeps_its_order_its_marks_and_its_levels(ours: Ours):
    key = ours.put(TASKS)[0]
    found = told(ours.keep().get(key))
    assert [(item["text"], item["checked"], item["indent"]) for item in found["items"]] == [
        ("top", False, 0),
        ("below", True, 1),
        ("also below", False, 1),
        ("last", True, 0),
    ]


def test_after_the_first_time_only_what_changed_is_told(ours: Ours):
    notes = varied_notes(60)
    ids = ours.put(*notes)
    first = ours.keep()
    state = first.dump()
    assert not ours.server._accounts[ours.email].changes(first._keep_version)["nodes"]
    rng = random.Random(3)
    after = dict(zip(ids, notes, strict=True))
    for number, way in enumerate(("title", "check", "replace a line", "label", "color", "trash", "link", "no labels")):
        after[ids[number]] = edit(notes[number], way, rng) or notes[number]
    ours.put(*(after[key] for key in ids[:8]), ids=list(ids[:8]))
    ours.server.delete(ours.email, ids[30])
    del after[ids[30]]
    new = replace(BREAD, created=FIRST + 10**12)
    after[ours.put(new)[0]] = new
    changes = ours.server._accounts[ours.email].changes(first._keep_version)["nodes"]
    assert 10 < len(changes) < 60
    assert {"kind": "notes#node", "id": ids[30]} in changes
    told_now = {key: wanted(note, key) for key, note in after.items()}
    first.sync()
    assert all_of(first) == told_now
    # gkeepapi's own state forgets who shares a note.
    assert [{**one, "sharees": []} for one in all_of(ours.keep(state)).values()] == [
        {**told_now[key], "sharees": []} for key in all_of(first)
    ]


def test_a_note_that_is_put_again_as_it_is_has_not_changed(ours: Ours):
    ids: list[str | None] = [*ours.put(BREAD, TASKS)]
    version = ours.keep()._keep_version
    ours.put(BREAD, TASKS, ids=ids)
    assert ours.server._accounts[ours.email].changes(version)["nodes"] == []
    ours.put(replace(TASKS, items=(*ITEMS[:3], replace(ITEMS[3], text="at last"))), ids=ids[1:])
    changed = ours.server._accounts[ours.email].changes(version)["nodes"]
    assert [node.get("text") for node in changed] == ["at last"]


def test_a_removed_line_is_told_as_deleted_and_a_moved_one_keeps_its_place(ours: Ours):
    key = ours.put(TASKS)[0]
    keep = ours.keep()
    ours.put(replace(TASKS, items=(ITEMS[3], ITEMS[0])), ids=[key])
    keep.sync()
    assert [item["text"] for item in told(keep.get(key))["items"]] == ["last", "top"]
    assert [child.deleted for child in keep.get(key).children].count(True) == 2


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_answers_come_in_pages_of_any_size(size: int, ours: Ours):
    notes = varied_notes(24)
    ids = ours.put(*notes)
    ours.server.page_size(ours.email, size)
    keep = ours.keep()
    assert all_of(keep) == {key: wanted(note, key) for key, note in zip(ids, notes, strict=True)}
    assert (ours.server.seen()["endpoints"]["changes"] > 1) is (size < 1000)
    ours.put(replace(BREAD, created=FIRST + 10**12), replace(TASKS, created=FIRST + 10**12 + 1000))
    ours.server.delete(ours.email, ids[0])
    keep.sync()
    assert len(keep.all()) == len(ids) + 1


def test_what_changes_between_two_pages_is_not_lost(ours: Ours):
    ids = ours.put(*varied_notes(10))
    ours.server.page_size(ours.email, 5)
    account = ours.server._accounts[ours.email]
    first = account.changes(None)
    ours.put(replace(BREAD, created=FIRST + 10**12))
    told_: list[str] = [node["id"] for node in first["nodes"]]
    while first["truncated"]:
        first = account.changes(first["toVersion"])
        told_.extend(node["id"] for node in first["nodes"])
    later = account.changes(first["toVersion"])
    assert set(ids) <= set(told_)
    assert len(told_) == len(set(told_))
    assert any(node.get("title") == "Bread" for node in later["nodes"])


def test_labels_are_renamed_and_deleted(ours: Ours):
    key = ours.put(BREAD)[0]
    keep = ours.keep()
    assert told(keep.get(key))["labels"] == ["a,b", "home"]
    ours.server.rename_label(ours.email, "home", "kitchen")
    keep.sync()
    assert told(keep.get(key))["labels"] == ["a,b", "kitchen"]
    ours.server.delete_label(ours.email, "a,b")
    keep.sync()
    assert told(keep.get(key))["labels"] == ["kitchen"]


def test_files_are_fetched_from_where_their_link_points(ours: Ours):
    key = ours.put(replace(BREAD, files=(PICTURE, SandboxFile(name="v.m4a", mime="audio/mp4", content=b"sound"))))[0]
    keep = ours.keep()
    node = keep.get(key)
    assert (len(node.images), len(node.audio)) == (1, 1)
    contents = []
    for blob in node.blobs:
        assert isinstance(blob, Blob)
        contents.append(requests.get(keep.getMediaLink(blob), timeout=10).content)
    assert contents == [PICTURE.content, b"sound"]
    ours.server._accounts[ours.email].contents.clear()
    with pytest.raises(KeyError):
        keep.getMediaLink(node.images[0])


def test_a_revoked_master_token_signs_in_no_more_and_an_access_token_is_renewed(ours: Ours):
    keep = ours.keep()
    ours.server.expire(ours.email)
    keep.sync()
    assert ours.server.seen()["statuses"]["401"] == 1
    ours.server.revoke(ours.email)
    with pytest.raises(exception.LoginException, match="BadAuthentication"):
        keep.sync()
    with pytest.raises(exception.LoginException, match="BadAuthentication"):
        ours.keep()
    ours.server.revoke(ours.email, revoked=False)
    ours.keep()
    with pytest.raises(exception.LoginException):
        gkeepapi.Keep().authenticate(ours.email, "aas_et/wrong")


def test_a_client_that_knows_a_version_is_told_to_read_all_again(ours: Ours):
    ours.put(BREAD)
    keep = ours.keep()
    ours.server.resync(ours.email)
    with pytest.raises(exception.ResyncRequiredException):
        keep.sync()
    keep.sync(resync=True)
    assert len(keep.all()) == 1


def test_a_429_without_end_holds_gkeepapi_for_ever(ours: Ours, monkeypatch: pytest.MonkeyPatch):
    class Enough(Exception):
        pass

    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 5:
            raise Enough

    keep = ours.keep()
    ours.server.fault("429", endpoint="changes")
    monkeypatch.setattr(time, "sleep", sleep)
    with pytest.raises(Enough):
        keep.sync()
    assert waited == [2, 4, 8, 16, 32]


FAULTS: dict[str, type[Exception]] = {
    "500": exception.APIException,
    "403": exception.APIException,
    "drop": requests.exceptions.ConnectionError,
    "html": requests.exceptions.JSONDecodeError,
}


@pytest.mark.parametrize("kind", FAULTS)
def test_trouble_comes_on_demand(kind: str, ours: Ours):
    keep = ours.keep()
    ours.server.fault(kind, endpoint="changes", key=ours.email, times=1)
    with pytest.raises(FAULTS[kind]):
        keep.sync()
    keep.sync()
    with pytest.raises(ValueError, match="none of"):
        Fault("999")


def test_what_gkeepapi_sends_up_is_kept(ours: Ours):
    keep = ours.keep()
    note = keep.createNote("Mine", "made here")
    note.labels.add(keep.createLabel("new"))
    keep.sync()
    assert note.server_id
    found = told(ours.keep().get(note.id))
    assert (found["title"], found["text"], found["labels"]) == ("Mine", "made here", ["new"])


def test_as_a_process_it_is_changed_through_its_control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with KeepServer(tmp_path) as server:
        token = server.new_account("ann@example.com")
        ids = server.put("ann@example.com", replace(BREAD, files=(PICTURE,)).document())
        places = server.variables
        monkeypatch.setattr("gkeepapi.KeepAPI.API_URL", places["KEEP_API_URL"])
        monkeypatch.setattr("gpsoauth.AUTH_URL", places["KEEP_AUTH_URL"])
        keep = gkeepapi.Keep()
        keep.authenticate("ann@example.com", token)
        assert [node.id for node in keep.all()] == ids == server.notes("ann@example.com")
        with pytest.raises(Refused, match="KeyError"):
            server.delete("ann@example.com", "unknown")
        assert httpx.post(f"{server.address}/control/seen", json={}).status_code == 401
