"""An account of the test's own in the stand-in of Google Keep, and gkeepapi pointed at it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import gkeepapi
import gpsoauth
import pytest

from sync_pipelines.sandbox.keep.api import Keep
from sync_pipelines.sandbox.keep.model import SandboxNote
from sync_pipelines.sandbox.keep.server import addresses

_numbers = count(1)


@dataclass(frozen=True)
class Ours:
    """An account, and what is done to it."""

    server: Keep
    email: str
    token: str

    def put(self, *notes: SandboxNote, ids: list[str | None] | None = None) -> list[str]:
        """Make notes, or change those with these ids."""
        return self.server.put(self.email, *(note.document() for note in notes), ids=ids)

    def keep(self, state: dict[str, Any] | None = None) -> gkeepapi.Keep:
        """gkeepapi, signed in and in sync."""
        found = gkeepapi.Keep()
        found.authenticate(self.email, self.token, state=state)
        return found


@pytest.fixture(scope="module")
def keep_server() -> Iterator[Keep]:
    """One stand-in for the module."""
    with Keep(key="keep-control") as server:
        yield server


@pytest.fixture
def ours(keep_server: Keep, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ours]:
    """An empty account."""
    places = addresses(keep_server.address)
    monkeypatch.setattr(gkeepapi.KeepAPI, "API_URL", places["KEEP_API_URL"])
    monkeypatch.setattr(gkeepapi.MediaAPI, "API_URL", places["KEEP_MEDIA_URL"])
    monkeypatch.setattr(gpsoauth, "AUTH_URL", places["KEEP_AUTH_URL"])
    keep_server.clear_faults()
    keep_server.clear_seen()
    email = f"user{next(_numbers)}@example.com"
    yield Ours(keep_server, email, keep_server.new_account(email))
    keep_server.clear_faults()
