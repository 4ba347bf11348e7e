"""Exports as they come: folders and zip files, whole and broken."""

import hashlib
import os
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest

from sync_pipelines.engine.errors import ConfigurationError, RunError, TransientError
from sync_pipelines.sources.keep import parts, takeout
from sync_pipelines.sources.keep.model import Link, Sharee
from sync_pipelines.sources.keep.parts import lacking
from sync_pipelines.sources.keep.takeout import Found, Takeout
from sync_pipelines_tests.sources.keep.exports import FIRST, a_note, as_folder, as_zip

PICTURE = b"\xff\xd8 a picture"


def read(*paths: Path) -> list[Found]:
    return list(Takeout([str(path) for path in paths]).read())


def titles(found: list[Found]) -> list[str]:
    return sorted(item.note.title for item in found if item.note is not None)


@pytest.mark.parametrize("made", [as_folder, as_zip])
@pytest.mark.parametrize("folder", ["Takeout/Keep", "Takeout/Notizen", "Takeout/Google Keep", "Архив/Заметки", "."])
def test_notes_are_found_whatever_the_folder_is_called(tmp_path: Path, made: Any, folder: str) -> None:
    prefix = "" if folder == "." else f"{folder}/"
    path = made(tmp_path / "export.zip", {f"{prefix}Bread.json": a_note(), f"{prefix}Salt.json": a_note(title="Salt")})
    assert titles(read(path)) == ["Bread", "Salt"]


def test_what_is_no_note_is_left_alone(tmp_path: Path) -> None:
    files = {
        "Takeout/Keep/Bread.json": a_note(),
        "Takeout/Keep/Bread.html": b"<html>",
        "Takeout/Keep/Labels.txt": b"food\n",
        "Takeout/archive_browser.html": b"<html>",
        "Takeout/Keep/._Bread.json": b"\0\5\26\7 of Finder",
        "Takeout/Drive/settings.json": {"title": "Drive", "color": "blue"},
        "Takeout/Drive/broken.json": b"{",
        "Takeout/Drive/list.json": [1, 2],
    }
    for path in (as_zip(tmp_path / "a.zip", files), as_folder(tmp_path / "a", files)):
        found = read(path)
        assert [(item.path, item.problem) for item in found] == [("Takeout/Keep/Bread.json", None)]


def test_every_field_arrives(tmp_path: Path) -> None:
    document = a_note(
        color="TEAL",
        isPinned=True,
        isArchived=True,
        isTrashed=True,
        title="",
        textContent=None,
        textContentHtml="<p>",
        listContent=[{"text": "milk", "textHtml": "<p>", "isChecked": True}, {"text": "", "isChecked": False}],
        labels=[{"name": "b"}, {"name": "a"}, {"name": "b"}],
        annotations=[
            {"source": "WEBLINK", "url": "https://a.example", "title": "A", "description": "of a"},
            {"source": "TASKS", "url": "no link of ours"},
        ],
        sharees=[
            {"email": "b@example.com", "isOwner": False, "type": "WRITER"},
            {"email": "a@example.com", "isOwner": True, "type": "WRITER"},
        ],
    )
    (found,) = read(as_folder(tmp_path, {"x.json": document}))
    assert found.note is not None
    assert found.note.to_json() == (
        '{"archived":true,"attachments":[],"color":"TEAL","created":"2023-11-14T22:13:20.123000Z",'
        '"edited":"2023-11-14T22:13:20.124000Z","id":"1700000000123000","items":[{"checked":true,"indent":0,'
        '"text":"milk"},{"checked":false,"indent":0,"text":""}],"labels":["a","b"],"links":[{"description":"of a",'
        '"title":"A","url":"https://a.example"}],"pinned":true,"sharees":[{"email":"a@example.com","owner":true},'
        '{"email":"b@example.com","owner":false}],"text":null,"title":"","trashed":true}'
    )


def test_a_note_need_not_say_when_it_was_edited_nor_have_a_text(tmp_path: Path) -> None:
    (found,) = read(as_folder(tmp_path, {"x.json": a_note(userEditedTimestampUsec=None, textContent=None)}))
    assert found.note is not None
    assert (found.note.edited, found.note.text) == (None, "")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"color": "MAUVE"}, "color"),
        ({"color": None}, "color"),
        ({"isPinned": "yes"}, "isPinned"),
        ({"title": 5}, "title"),
        ({"createdTimestampUsec": "yesterday"}, "createdTimestampUsec"),
        ({"createdTimestampUsec": -1}, "createdTimestampUsec"),
        ({"createdTimestampUsec": 10**30}, "createdTimestampUsec"),
        ({"userEditedTimestampUsec": True}, "userEditedTimestampUsec"),
        ({"labels": {"name": "a"}}, "labels"),
        ({"labels": [{"nom": "a"}]}, "labels.name"),
        ({"listContent": [{"text": "a"}], "textContent": None}, "listContent.isChecked"),
        ({"listContent": [{"text": "a", "isChecked": False}]}, "textContent"),
        ({"annotations": [{"source": "WEBLINK"}]}, "annotations.url"),
        ({"sharees": [{"email": 5}]}, "sharees.email"),
        ({"attachments": [{"mimetype": "image/png"}]}, "attachments.filePath"),
        ({"textContent": "half \ud83d"}, "text"),
    ],
)
def test_a_note_that_breaks_the_contract_says_where_and_the_rest_goes_on(
    tmp_path: Path, change: dict[str, Any], field: str
) -> None:
    found = read(as_folder(tmp_path, {"Keep/bad.json": a_note(**change), "Keep/good.json": a_note(title="Salt")}))
    assert titles(found) == ["Salt"]
    (bad,) = [item for item in found if item.problem is not None]
    assert bad.problem is not None
    assert bad.problem.startswith(f"Keep/bad.json: {field}: ")
    assert bad.created == (None if "createdTimestampUsec" in change else FIRST)


def test_a_field_that_says_nothing_is_left_out_and_stops_no_note(tmp_path: Path) -> None:
    link = {"source": "WEBLINK", "url": "https://a.example", "title": None}
    blank = a_note(
        labels=[{"name": ""}, {"name": None}, {"name": "a"}],
        annotations=[{"source": "WEBLINK", "url": ""}, link, {"source": "WEBLINK", "url": None, "title": "A"}],
        sharees=[{"isOwner": True, "type": "User"}, {"email": "a@example.com", "isOwner": None}],
    )
    blank |= {"userEditedTimestampUsec": None, "listContent": None}
    (found,) = read(as_folder(tmp_path, {"Keep/blank.json": blank}))
    assert found.problem is None
    assert found.note is not None
    assert (found.note.labels, found.note.edited, found.note.items) == (("a",), None, None)
    assert found.note.links == (Link(url="https://a.example"), Link(url="", title="A"))
    assert found.note.sharees == (Sharee(email="a@example.com"),)


@pytest.mark.parametrize("text", [b"", b"{", b'{"title": "Bread", ', b"\x80\x81", b"[" * 100_000])
def test_broken_json_beside_notes_is_a_problem(tmp_path: Path, text: bytes) -> None:
    found = read(as_zip(tmp_path / "a.zip", {"Keep/a broken.json": text, "Keep/good.json": a_note()}))
    assert titles(found) == ["Bread"]
    assert [item.problem for item in found if item.note is None] == [
        "Keep/a broken.json: it is no JSON (a file that was cut short?)."
    ]


def test_a_note_that_was_cut_short_is_a_problem_where_no_other_stands(tmp_path: Path) -> None:
    (found,) = read(as_folder(tmp_path, {"Keep/only.json": b'{"color": "RED", "isTrashed": false, "ti'}))
    assert found.problem is not None
    assert found.created is None


def test_attachments_lie_beside_also_under_another_extension_and_in_another_part(tmp_path: Path) -> None:
    named = [
        {"filePath": "a.png", "mimetype": "image/png"},
        {"filePath": "b.jpeg", "mimetype": "image/jpeg"},
        {"filePath": "c.amr", "mimetype": "audio/3gpp"},
        {"filePath": "gone.png", "mimetype": "image/png"},
    ]
    one = as_zip(tmp_path / "1.zip", {"Takeout/Keep/x.json": a_note(attachments=named), "Takeout/Keep/a.png": PICTURE})
    two = as_zip(
        tmp_path / "2.zip",
        {
            "Takeout/Keep/b.jpg": PICTURE * 2,
            "Takeout/Keep/c.3gp": b"sound",
            "Takeout/Keep/a.html": b"<html>",
            "Takeout/Photos/gone.png": PICTURE,
        },
    )
    export = Takeout([str(one), str(two)])
    (found,) = export.read()
    assert found.note is not None
    told = [(item.name, item.mime, item.size, item.sha256) for item in found.note.attachments]
    assert told == [
        ("a.png", "image/png", len(PICTURE), hashlib.sha256(PICTURE).hexdigest()),
        ("b.jpeg", "image/jpeg", 2 * len(PICTURE), hashlib.sha256(PICTURE * 2).hexdigest()),
        ("c.amr", "audio/3gpp", 5, hashlib.sha256(b"sound").hexdigest()),
        ("gone.png", "image/png", 0, ""),
    ]
    with export.open(found.files["b.jpeg"]) as file:
        assert file.read() == PICTURE * 2


def test_a_file_whose_name_macos_has_spelled_otherwise_is_found_and_such_a_note_is_one(tmp_path: Path) -> None:
    document = a_note(attachments=[{"filePath": "Caf\u00e9.png", "mimetype": "image/png"}])
    one = as_zip(tmp_path / "1.zip", {"M\u00e9mo/Caf\u00e9.json": document})
    two = as_folder(tmp_path / "2", {"Me\u0301mo/Cafe\u0301.json": document, "Me\u0301mo/Cafe\u0301.png": PICTURE})
    export = Takeout([str(one), str(two)])
    found = list(export.read())
    assert {item.name for item in found} == {"Caf\u00e9.json"}
    for item in found:
        with export.open(item.files["Caf\u00e9.png"]) as file:
            assert file.read() == PICTURE


def test_a_path_that_leads_out_of_the_export_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_bytes(b"hunter2")
    named = [{"filePath": "../../secret.txt", "mimetype": "text/plain"}, {"filePath": "/etc/passwd", "mimetype": ""}]
    root = as_folder(tmp_path / "in", {"Keep/x.json": a_note(attachments=named)})
    (root / "Keep" / "link.json").symlink_to(tmp_path / "secret.txt")
    (root / "Keep" / "passwd").symlink_to("/etc/passwd")
    (root / "Keep" / "loop").symlink_to(root)
    packed = as_zip(tmp_path / "a.zip", {"../../Keep/x.json": a_note(attachments=named), "../../../secret.txt": b""})
    for path in (root, packed):
        (found,) = read(path)
        assert found.note is not None
        assert {item.sha256 for item in found.note.attachments} == {""}
    with pytest.raises(TransientError, match="has no file"), Takeout([str(root)]).open((0, "../secret.txt")):
        pass


def test_a_bomb_is_one_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(takeout, "LARGEST_NOTE", 1 << 20)
    monkeypatch.setattr(takeout, "LARGEST_FILE", 1 << 20)
    named = [{"filePath": "b.png", "mimetype": "image/png"}]
    files = {
        "Keep/bomb.json": b'{"isTrashed": "' + b"0" * (50 << 20),
        "Keep/x.json": a_note(attachments=named),
        "Keep/b.png": b"0" * (50 << 20),
        "Keep/good.json": a_note(title="Salt"),
    }
    found = read(as_zip(tmp_path / "a.zip", files))
    assert titles(found) == ["Salt"]
    assert sorted(item.problem for item in found if item.problem is not None) == [
        "Keep/bomb.json: it has more than 1 MiB, and no note is so large.",
        "Keep/x.json: attachments: one has more than 1 MiB.",
    ]


def test_a_zip_that_was_cut_short_is_named(tmp_path: Path) -> None:
    path = as_zip(tmp_path / "takeout-1.zip", {"Keep/x.json": a_note()})
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(RunError, match=r"takeout-1\.zip' is no whole zip file\. Download this part"):
        read(path)


def test_an_encrypted_zip_is_named(tmp_path: Path) -> None:
    path = as_zip(tmp_path / "secret.zip", {"Keep/x.json": a_note()})
    data = bytearray(path.read_bytes())
    directory = data.rindex(b"PK\x01\x02")
    data[directory + 8 : directory + 10] = struct.pack("<H", 1)
    path.write_bytes(data)
    with pytest.raises(RunError, match=r"secret\.zip' is encrypted\. Unpack it"):
        read(path)


def test_a_member_whose_bytes_are_damaged_is_one_problem(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("Keep/bad.json", b'{"isTrashed": false, "textContent": "Flour, water"}')
        archive.writestr(
            "Keep/good.json", as_folder(tmp_path / "f", {"x.json": a_note()}).joinpath("x.json").read_bytes()
        )
    path.write_bytes(path.read_bytes().replace(b'Flour, water"}', b'Flour, wine!"}'))
    found = read(path)
    assert titles(found) == ["Bread"]
    assert [item.problem for item in found if item.problem] == ["Keep/bad.json: its bytes are damaged (BadZipFile)."]


def test_an_export_that_changes_while_it_is_read_is_read_again_later(tmp_path: Path) -> None:
    root = as_folder(tmp_path, {"Keep/a.json": a_note(), "Keep/b.json": a_note()})
    reading = Takeout([str(root)]).read()
    next(reading)
    (root / "Keep" / "c.json").write_bytes(b"{}")
    with pytest.raises(TransientError, match="changed while it was read"):
        list(reading)


def test_the_signature_tells_exports_apart_and_opens_nothing(tmp_path: Path) -> None:
    path = as_zip(tmp_path / "a.zip", {"Keep/x.json": a_note()})
    export = Takeout([str(path)])
    first = export.signature()
    path.write_bytes(path.read_bytes()[:-30])
    os.utime(path, ns=(1, 1))
    assert export.signature() != first
    assert export.signature() == Takeout([str(tmp_path / "*.zip")]).signature()


def test_a_path_that_names_nothing_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="There is no file or folder") as raised:
        read(tmp_path / "no" / "*.zip")
    assert "`sync-pipelines users set NAME --takeout …`" in str(raised.value)
    with pytest.raises(TransientError, match="`sync-pipelines users set NAME --takeout …`"), parts.reading_of(tmp_path):
        (tmp_path / "gone").stat()
    (tmp_path / "a.tgz").write_bytes(b"\x1f\x8b")
    with pytest.raises(ConfigurationError, match="neither a folder nor a zip file"):
        read(tmp_path / "a.tgz")


@pytest.mark.parametrize("name", ["takeout-20260101T000000Z-001.zip", "all.TGZ"])
def test_a_folder_of_archives_is_no_empty_export(tmp_path: Path, name: str) -> None:
    (tmp_path / "takeouts").mkdir()
    as_zip(tmp_path / "takeouts" / name, {"Keep/x.json": a_note()})
    with pytest.raises(ConfigurationError, match=r"archives in a folder are not opened") as raised:
        read(tmp_path / "takeouts")
    assert f"--takeout '{tmp_path}/takeouts/*.zip'" in str(raised.value)
    # who unpacks in the same place has both, and in a note's own folder an archive is somebody's file
    as_folder(tmp_path / "takeouts", {"Takeout/Keep/x.json": a_note(title="unpacked")})
    assert titles(read(tmp_path / "takeouts")) == ["unpacked"]


def test_of_several_exports_the_newest_is_read(tmp_path: Path) -> None:
    as_zip(tmp_path / "takeout-20250101T000000Z-001.zip", {"Keep/x.json": a_note(title="old")})
    as_zip(tmp_path / "takeout-20260101T000000Z-001.zip", {"Keep/x.json": a_note(title="new")})
    as_zip(tmp_path / "takeout-20260101T000000Z-002.zip", {"Keep/y.json": a_note(title="second part")})
    assert titles(read(tmp_path / "takeout-*.zip")) == ["new", "second part"]
    assert titles(read(tmp_path / "takeout-2026*-001.zip", tmp_path / "takeout-2026*.zip")) == ["new", "second part"]
    # as a browser calls what it has downloaded before
    (tmp_path / "takeout-20250101T000000Z-001.zip").rename(tmp_path / "takeout-20250101T000000Z-001 (1).zip")
    (tmp_path / "takeout-20260101T000000Z-001.zip").rename(tmp_path / "takeout-20260101T000000Z-001(2).zip")
    assert titles(read(tmp_path / "takeout-*.zip")) == ["new", "second part"]
    (tmp_path / "takeout-20260101T000000Z-002.zip").rename(tmp_path / "takeout-20260101T000000Z-002.ZIP")
    assert lacking([str(tmp_path / "takeout-*")], {}) == []
