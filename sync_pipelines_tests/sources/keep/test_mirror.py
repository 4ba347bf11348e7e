"""What is known of an account, page by page."""

import json
from typing import Any

from sync_pipelines.sources.keep.mirror import Mirror, mirror_from

NEVER = "1970-01-01T00:00:00.000Z"


def node(key: str, parent: str = "root", kind: str = "NOTE", **more: Any) -> dict[str, Any]:
    return {"id": key, "parentId": parent, "type": kind, "timestamps": {"deleted": NEVER}, **more}


def looked(mirror: Mirror, *nodes: dict[str, Any], version: str = "1", **more: Any) -> Mirror:
    mirror.begin()
    mirror.take({"nodes": list(nodes), "toVersion": version, **more})
    mirror.end()
    return mirror


def test_a_look_that_finds_nothing_is_none() -> None:
    mirror = looked(looked(Mirror(), node("a")), version="2")
    assert (mirror.look, mirror.version, list(mirror.notes(after=1))) == (1, "2", [])


def test_a_note_has_changed_where_one_of_its_lines_has() -> None:
    mirror = looked(Mirror(), node("a"), node("b"), node("a1", "a", "LIST_ITEM"), node("b1", "b", "LIST_ITEM"))
    looked(mirror, node("b1", "b", "LIST_ITEM", text="x"))
    assert list(mirror.notes(after=1)) == ["b"]
    looked(mirror, {"id": "a1"})
    assert list(mirror.notes(after=2)) == ["a"]
    assert mirror.children("a") == []


def test_a_line_that_moves_changes_both_notes() -> None:
    mirror = looked(Mirror(), node("a"), node("b"), node("a1", "a", "LIST_ITEM"))
    looked(mirror, node("a1", "b", "LIST_ITEM"))
    assert sorted(mirror.notes(after=1)) == ["a", "b"]
    assert [[child["id"] for child in mirror.children(key)] for key in "ab"] == [[], ["a1"]]


def test_a_note_goes_with_all_that_is_in_it() -> None:
    mirror = looked(Mirror(), node("a"), node("a1", "a", "LIST_ITEM"), node("b"))
    looked(mirror, {"id": "a"}, {"id": "a1"}, {"id": "never heard of"})
    assert (set(mirror.nodes), list(mirror.notes())) == ({"b"}, ["b"])
    looked(mirror, node("b", timestamps={"deleted": "2026-01-01T00:00:00.000Z"}))
    assert list(mirror.notes()) == []


def test_what_an_update_leaves_out_is_empty_but_for_what_stays() -> None:
    mirror = looked(Mirror(), node("a", text="kept", serverId="s", labelIds=[{"labelId": "l"}], title="gone"))
    looked(mirror, node("a"))
    assert mirror.nodes["a"] == node("a", text="kept", serverId="s")


def test_a_label_changes_the_notes_that_bear_it() -> None:
    mirror = looked(
        Mirror(),
        node("a", labelIds=[{"labelId": "l"}]),
        node("b"),
        userInfo={"labels": [{"mainId": "l", "name": "food"}]},
    )
    looked(mirror, userInfo={"labels": [{"mainId": "l", "name": "food"}]})
    assert mirror.look == 1
    looked(mirror, userInfo={"labels": [{"mainId": "l", "name": "meals"}]})
    assert list(mirror.notes(after=1)) == ["a"]
    looked(mirror, userInfo={"labels": []})
    assert list(mirror.notes(after=2)) == ["a"]


def test_what_is_kept_as_json_goes_on_as_it_was() -> None:
    mirror = looked(Mirror(), node("a"), node("a1", "a", "BLOB"), node("a2", "a", "LIST_ITEM"))
    mirror.media["a1/x"] = (9, "ff")
    again = mirror_from(json.loads(json.dumps(mirror.as_dict())))
    assert again.as_dict() == mirror.as_dict()
    assert [child["id"] for child in again.children("a")] == ["a1", "a2"]
    assert again.media == {"a1/x": (9, "ff")}
    looked(again, {"id": "a1"})
    assert again.media == {}


def test_what_another_version_has_kept_is_not_believed() -> None:
    document = looked(Mirror(), node("a")).as_dict()
    assert mirror_from({**document, "format": 0}).version is None
    assert mirror_from(None).nodes == {}
