"""A database of notes in a workspace of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from notion_client import Client

from sync_pipelines.sandbox.notion.control import WorkspaceControl


@dataclass(frozen=True)
class Notes:
    """A data source and how it is used: `hands` are a person's, `client` is the connection's."""

    hands: WorkspaceControl
    client: Client
    database: str
    source: str

    def page(self, title: str = "A note", *lines: str, **properties: Any) -> str:
        """A page with paragraphs; its id."""
        held = {"Name": {"title": [{"text": {"content": title}}]}, **properties}
        children = [paragraph(line) for line in lines]
        return self.client.pages.create(parent={"data_source_id": self.source}, properties=held, children=children)[
            "id"
        ]

    def query(self, **options: Any) -> list[str]:
        """The titles of the pages that a query finds, up to 100."""
        found = self.client.data_sources.query(self.source, **options)["results"]
        return [text_of(row["properties"]["Name"]["title"]) for row in found]

    def blocks(self, parent: str) -> list[dict[str, Any]]:
        """The blocks of a page or block, up to 100."""
        return self.client.blocks.children.list(parent)["results"]

    def texts(self, parent: str) -> list[str]:
        """Their texts."""
        return [text_of(block[block["type"]].get("rich_text", [])) for block in self.blocks(parent)]


def paragraph(text: str) -> dict[str, Any]:
    """A paragraph as a request has it."""
    return {"type": "paragraph", "paragraph": {"rich_text": [{"text": {"content": text}}]}}


def text_of(text: list[dict[str, Any]]) -> str:
    """The text of rich text."""
    return "".join(one["plain_text"] for one in text)


SCHEMA: dict[str, Any] = {
    "Name": {"title": {}},
    "Keep ID": {"rich_text": {}},
    "Labels": {"multi_select": {}},
    "Color": {"select": {"options": [{"name": "RED", "color": "red"}]}},
    "Pinned": {"checkbox": {}},
    "Created": {"date": {}},
    "Size": {"number": {}},
    "Link": {"url": {}},
    "Made": {"created_time": {}},
}


@pytest.fixture
def hands(notion_workspace: WorkspaceControl) -> WorkspaceControl:
    """The workspace, as its people see it."""
    return notion_workspace


@pytest.fixture
def client(hands: WorkspaceControl) -> Iterator[Client]:
    """The client of its connection."""
    client = hands.client()
    yield client
    client.close()


@pytest.fixture
def notes(hands: WorkspaceControl, client: Client) -> Notes:
    """A database with a property of each type that a sync uses."""
    parent = {"type": "page_id", "page_id": hands.page}
    made = client.databases.create(
        parent=parent, title=[{"text": {"content": "Notes"}}], initial_data_source={"properties": SCHEMA}
    )
    return Notes(hands, client, made["id"], made["data_sources"][0]["id"])
