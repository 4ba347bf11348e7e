"""Files are created, sent and attached within an hour, and have their limits."""

from __future__ import annotations

import io
from typing import Any

import httpx
import pytest
from notion_client import Client

from sync_pipelines.sandbox.notion.control import WorkspaceControl
from sync_pipelines.sandbox.notion.server import NotionServer
from sync_pipelines_tests.sandbox.notion.conftest import Notes
from sync_pipelines_tests.sandbox.notion.refused import refused

MIB = 1024 * 1024
PICTURE = bytes(range(256)) * 40 + b"\r\n--not the boundary\r\n"


def sent(client: Client, content: bytes = PICTURE, name: str = "a.png", kind: str = "image/png") -> dict[str, Any]:
    made = client.file_uploads.create(mode="single_part", filename=name, content_type=kind)
    return client.file_uploads.send(made["id"], file=(name, io.BytesIO(content), kind))


def attached(upload: str, kind: str = "image") -> dict[str, Any]:
    return {"type": kind, kind: {"type": "file_upload", "file_upload": {"id": upload}}}


def test_a_file_is_attached_and_can_be_fetched_as_it_was_sent(notes: Notes):
    upload = sent(notes.client)
    assert (upload["status"], upload["content_length"], "upload_url" in upload) == ("uploaded", len(PICTURE), False)
    page = notes.page()
    found = notes.client.blocks.children.append(page, children=[attached(upload["id"]), attached(upload["id"], "file")])
    image, file = (block[block["type"]] for block in found["results"])
    assert (image["type"], file["name"]) == ("file", "a.png")
    assert image["file"]["expiry_time"].endswith("Z")
    with httpx.Client(verify=False, trust_env=False) as wire:
        answer = wire.get(image["file"]["url"])
    assert answer.content == PICTURE
    assert answer.headers["content-type"] == "image/png"


def test_a_file_that_is_not_attached_within_an_hour_expires(notes: Notes):
    late, kept = sent(notes.client)["id"], sent(notes.client)["id"]
    waiting = notes.client.file_uploads.create(filename="b.png", content_type="image/png")["id"]
    page = notes.page()
    notes.client.blocks.children.append(page, children=[attached(kept)])
    notes.hands.advance(3601)
    assert notes.client.file_uploads.retrieve(late)["status"] == "expired"
    status, code, message = refused(lambda: notes.client.blocks.children.append(page, children=[attached(late)]))
    assert (status, code) == (400, "validation_error")
    assert "has a status of expired" in message
    assert (
        refused(lambda: notes.client.file_uploads.send(waiting, file=("b.png", io.BytesIO(b"x"), "image/png")))[0]
        == 400
    )
    notes.client.blocks.children.append(page, children=[attached(kept)])
    assert len(notes.blocks(page)) == 2
    assert [one["id"] for one in notes.client.file_uploads.list(status="uploaded")["results"]] == [kept]


def test_a_file_that_has_not_come_and_one_of_another_cannot_be_attached(notes: Notes):
    page = notes.page()
    pending = notes.client.file_uploads.create(filename="b.png", content_type="image/png")
    assert pending["upload_url"].endswith(f"/v1/file_uploads/{pending['id']}/send")
    assert (
        "status of pending"
        in refused(lambda: notes.client.blocks.children.append(page, children=[attached(pending["id"])]))[2]
    )
    unknown = "11111111-1111-1111-1111-111111111111"
    assert refused(lambda: notes.client.blocks.children.append(page, children=[attached(unknown)]))[0] == 404
    other = notes.hands.connect("Second")
    mine = sent(notes.client)["id"]
    assert refused(lambda: notes.hands.client(auth=other["token"]).file_uploads.retrieve(mine))[0] == 404


def test_a_single_part_has_20_mib_and_a_file_of_a_free_workspace_5(notion_server: NotionServer, client: Client):
    free = notion_server.workspace(free=True).client()
    for one, most in ((client, 20 * MIB), (free, 5 * MIB)):
        assert sent(one, b"\x00" * most)["content_length"] == most
        status, code, message = refused(lambda one=one, most=most: sent(one, b"\x00" * (most + 1)))
        assert (status, code) == (400, "validation_error")
        assert f"has {most + 1} bytes; the limit is {most // MIB} MiB" in message
    assert free.users.me()["bot"]["workspace_limits"]["max_file_upload_size_in_bytes"] == 5 * MIB


def test_a_larger_file_comes_in_parts(client: Client, hands: WorkspaceControl):
    made = client.file_uploads.create(
        mode="multi_part", number_of_parts=2, filename="a.pdf", content_type="application/pdf"
    )["id"]
    parts = [b"1" * 5 * MIB, b"2"]
    client.file_uploads.send(made, file=("a.pdf", io.BytesIO(parts[0]), "application/pdf"), part_number="1")
    assert "1 parts have not been sent" in refused(lambda: client.file_uploads.complete(made))[2]
    client.file_uploads.send(made, file=("a.pdf", io.BytesIO(parts[1]), "application/pdf"), part_number="2")
    done = client.file_uploads.complete(made)
    assert (done["status"], done["content_length"], done["number_of_parts"]) == (
        "uploaded",
        5 * MIB + 1,
        {"total": 2, "sent": 2},
    )
    client.blocks.children.append(hands.page, children=[attached(made, "pdf")])


def test_each_part_but_the_last_has_5_mib_at_least(client: Client):
    made = client.file_uploads.create(mode="multi_part", number_of_parts=2, filename="a.pdf")["id"]
    for number in ("1", "2"):
        client.file_uploads.send(made, file=("a.pdf", io.BytesIO(b"few"), "application/pdf"), part_number=number)
    assert "must have 5 MiB at least" in refused(lambda: client.file_uploads.complete(made))[2]


@pytest.mark.parametrize("name", ["voice.amr", "clip.3gp", "noextension", "a" * 900 + ".png"])
def test_a_file_of_a_kind_or_name_that_notion_does_not_take_is_refused(name: str, client: Client):
    assert refused(lambda: client.file_uploads.create(filename=name, content_type="image/png"))[:2] == (
        400,
        "validation_error",
    )


def test_what_is_sent_is_what_was_announced(client: Client):
    made = client.file_uploads.create(filename="a.png", content_type="image/png")["id"]
    for file in (("a.png", io.BytesIO(b"x"), "image/jpeg"), ("a.png", io.BytesIO(b""), "image/png")):
        assert refused(lambda file=file: client.file_uploads.send(made, file=file))[0] == 400
    client.file_uploads.send(made, file=("a.png", io.BytesIO(b"x"), "image/png"))
    assert refused(lambda: client.file_uploads.send(made, file=("a.png", io.BytesIO(b"x"), "image/png")))[0] == 400
