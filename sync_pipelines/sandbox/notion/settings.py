"""What can be set at a workspace and asked of it, beside what a person does there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sync_pipelines.sandbox.notion.faults import Fault
from sync_pipelines.sandbox.notion.model import DataSource, Node
from sync_pipelines.sandbox.notion.workspace import Workspace, new_id


class Settings:
    """The control of one workspace.

    Args:
        tokens: workspaces by the tokens of their connections.
    """

    def __init__(self, workspace: Workspace, tokens: dict[str, Workspace]) -> None:
        self._workspace, self._tokens = workspace, tokens

    def fault(self, kind: str, **options: Any) -> None:
        """Let requests meet a fault; the options are those of `faults.Fault`."""
        self._workspace.faults.add(Fault(kind, **options))

    def clear_faults(self) -> None:
        """Forget all faults; what is held is let go, without an answer."""
        for fault in self._workspace.faults.waiting():
            fault.gate.set()
        self._workspace.faults.clear()

    def held(self) -> int:
        """How many requests have met a fault so far, those that are held among them."""
        return sum(fault.met for fault in self._workspace.faults.waiting())

    def limit(
        self, rate: int | None, *, window: float = 1.0, retry_after: str | None = None, token: str | None = None
    ) -> None:
        """Refuse with 429 what exceeds so many requests in any window of seconds, for each connection or one of them.

        Args:
            rate: None refuses nothing.
            retry_after: what is sent with it, whatever it should be: seconds, `date:90`, or any text.
        """
        for one, limit in self._workspace.limits.items():
            if token in (None, one):
                limit.set(rate, retry_after=retry_after, window=window)

    def requests(self) -> list[dict[str, Any]]:
        """What was asked, in order: at, endpoint, key, status, limited, method, path."""
        return [asdict(one) for one in self._workspace.log.requests()]

    def summary(self) -> dict[str, Any]:
        """How many requests, by endpoint, status and key; the most in any second."""
        return self._workspace.log.summary()

    def clear_requests(self) -> None:
        """Begin the record anew."""
        self._workspace.log.clear()

    def now(self) -> str:
        """The workspace's time."""
        return self._workspace.clock.now().isoformat()

    def advance(self, seconds: float) -> str:
        """Let so many seconds pass at once; the time afterwards."""
        self._workspace.clock.advance(seconds)
        return self.now()

    def stop_clock(self, at: str | None = None) -> None:
        """Let the time stand still, at this moment or now."""
        self._workspace.clock.stop(datetime.fromisoformat(at) if at else None)

    def start_clock(self) -> None:
        """Let the time go on, from where it stands."""
        self._workspace.clock.go_on()

    def connect(
        self,
        name: str = "Another",
        *,
        token: str | None = None,
        shared: Iterable[str] = (),
        without: Iterable[str] = (),
    ) -> dict[str, str]:
        """One more connection, or bot; its token and id.

        Args:
            shared: ids of what it sees.
            without: capabilities that it lacks: `update_content`, `read_comments`, …
        """
        made = self._workspace.connect(token or f"ntn_{new_id()}", name, shared=shared, without=without)
        self._tokens[made.token] = self._workspace
        return {"token": made.token, "bot": made.id}

    def revoke(self, token: str, *, revoked: bool = True) -> None:
        """Let a token be invalid from now on, or valid again."""
        self._workspace.connections[token].revoked = revoked

    def share(self, token: str, identity: str) -> None:
        """Let a connection see this, and what is below it."""
        self._workspace.connections[token].barred.discard(identity)
        self._workspace.connections[token].shared.add(identity)

    def unshare(self, token: str, identity: str) -> None:
        """Let a connection see this no more, although it sees what is above it."""
        self._workspace.connections[token].shared.discard(identity)
        self._workspace.connections[token].barred.add(identity)

    def restrict(self, token: str, *without: str) -> None:
        """Take capabilities from a connection: what needs them answers 403."""
        self._workspace.connections[token].capabilities.difference_update(without)

    def max_blocks(self, number: int | None) -> None:
        """Set how many blocks may be made in the workspace's life; None: any number."""
        self._workspace.max_blocks = number

    def blocks_made(self) -> int:
        """How many blocks were made so far, pages and databases among them."""
        return self._workspace.blocks_made

    def empty_trash(self) -> int:
        """Remove for good what is in the trash; how many objects that were."""
        return self._workspace.empty_trash()

    def pages(self, source: str, *, in_trash: bool = False) -> list[dict[str, Any]]:
        """Id, title, last editor and time to the microsecond of all pages of a data source, oldest first."""
        rows = self._workspace.sources[source].rows
        return [
            {
                "id": row.id,
                "title": "".join(one["plain_text"] for one in row.title),
                "edited_by": row.edited_by,
                "edited": row.edited.isoformat(),
            }
            for row in rows
            if row.in_trash == in_trash
        ]

    def state(self, identity: str) -> dict[str, Any]:
        """What is known of a block, page or data source: times to the microsecond, editors, whether it is away."""
        one: Node | DataSource = self._workspace.sources.get(identity) or self._workspace.node(identity)
        away = one.away if isinstance(one, Node) else one.in_trash
        return {
            "id": one.id,
            "created": one.created.isoformat(),
            "edited": one.edited.isoformat(),
            "edited_by": one.edited_by,
            "away": away,
        }
