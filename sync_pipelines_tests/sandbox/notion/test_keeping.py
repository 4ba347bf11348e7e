"""Workspaces outlive the process that serves them, as a sandbox's other stores do."""

from __future__ import annotations

from pathlib import Path

from sync_pipelines.sandbox.notion.server import NotionServer

FILE = "workspaces"


def test_a_workspace_is_there_again_after_a_restart_with_pages_tokens_and_comments(tmp_path: Path):
    with NotionServer(tmp_path) as server:
        mine = server.workspace("Mine")
        block = mine.add_block(mine.page, "a line")
        mine.comment(block, "why?")
        mine.fault("503", endpoint="users.me")
        mine.advance(86_400)
        server.stop()
        assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
        server.start()
        client = mine.client()
        assert client.users.me()["bot"]["workspace_name"] == "Mine"
        assert [item["text"] for item in mine.outline(mine.page)] == ["a line"]
        assert len(client.comments.list(block_id=block)["results"]) == 1
        mine.edit_block(block, "another")
        assert mine.state(block)["edited"] > mine.state(block)["created"]


def test_a_file_that_cannot_be_read_is_put_aside_and_a_new_workspace_begins(tmp_path: Path):
    (tmp_path / FILE).write_bytes(b"nonsense")
    with NotionServer(tmp_path) as server:
        assert server.first().client().users.me()["bot"]["workspace_name"] == "Notes"
    assert (tmp_path / f"{FILE}.unreadable").read_bytes() == b"nonsense"
