"""Notion as its clients see it, and what its stand-in can be asked for beside that."""

from __future__ import annotations

import pickle
import threading
import uuid
from dataclasses import replace
from email.utils import format_datetime
from pathlib import Path
from typing import Any, ClassVar, Self

from sync_pipelines.sandbox.notion import refusals, routes
from sync_pipelines.sandbox.notion.answers import Answers
from sync_pipelines.sandbox.notion.calls import Call
from sync_pipelines.sandbox.notion.faults import Fault
from sync_pipelines.sandbox.notion.given import Given, parsed
from sync_pipelines.sandbox.notion.keeping import Keeper, kept
from sync_pipelines.sandbox.notion.model import Connection
from sync_pipelines.sandbox.notion.people import ACTS, People
from sync_pipelines.sandbox.notion.refusals import Refusal, usual
from sync_pipelines.sandbox.notion.settings import Settings
from sync_pipelines.sandbox.notion.workspace import Workspace, new_id
from sync_pipelines.sandbox.stand_ins.faults import retry_after
from sync_pipelines.sandbox.stand_ins.front import Asked, Reply
from sync_pipelines.sandbox.stand_ins.seen import Seen
from sync_pipelines.sandbox.stand_ins.service import StandIn

VERSION = "2025-09-03"
PUBLISHED = ("2021-05-11", "2021-05-13", "2021-08-16", "2022-02-22", "2022-06-28", VERSION, "2026-03-11")
"""Versions that Notion knows; the stand-in speaks one of them."""
MOST_BYTES = 500 * 1024
"""Of a JSON body."""

SETTINGS = tuple(name for name in vars(Settings) if not name.startswith("_"))
CONTROLS = ("new_workspace", "first_workspace", "seen", "clear_seen", *SETTINGS, *ACTS)
"""What may be asked of a stand-in beside Notion's own endpoints; settings and acts are those of one `workspace`."""


class Notion(StandIn):
    """The stand-in; key and port are those of `StandIn`. The key is also the token of the first workspace.

    Args:
        file: where the workspaces are kept from one process to the next; None: nowhere.
    """

    controls: ClassVar[tuple[str, ...]] = CONTROLS

    def __init__(self, *, key: str, port: int = 0, file: Path | None = None) -> None:
        self._lock = threading.RLock()
        self._workspaces: dict[str, Workspace] = {}
        self._tokens: dict[str, Workspace] = {}
        self._keeper = Keeper(file, self._state) if file is not None else None
        super().__init__(key=key, port=port)
        known = kept(file)
        if known is None:
            self.first = self.new_workspace("Notes", token=key)
        else:
            self.first, self._workspaces = known
            self._tokens = {token: one for one in self._workspaces.values() for token in one.connections}

    def __enter__(self) -> Self:
        if self._keeper is not None:
            self._keeper.start()
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        if self._keeper is not None:
            self._keeper.stop()

    def _state(self) -> bytes:
        with self._lock:
            return pickle.dumps((self.first, self._workspaces))

    def _changed(self) -> None:
        if self._keeper is not None:
            self._keeper.changed()

    @property
    def url(self) -> str:
        """As NOTION_BASE_URL takes it."""
        return self.front.address

    def new_workspace(
        self, name: str = "Workspace", *, token: str | None = None, free: bool = False, merge_runs: bool = False
    ) -> dict[str, Any]:
        """A workspace of its own, with a page that its first connection sees.

        Args:
            token: of the connection; one is made otherwise.
            free: on the free plan: 1,000 blocks for life, files of up to 5 MiB.
            merge_runs: neighbouring runs of text that look alike are answered as one.

        Returns:
            Its `workspace`, `token`, `bot`, `person`, `page` and `root`, all ids but the token.
        """
        made = Workspace(name, free=free, merge_runs=merge_runs)
        page = made.add_page(made.root, made.person, title="Shared with the sync")
        bot = made.connect(token or f"ntn_{uuid.uuid4().hex}", "Sync of notes", shared=[page.id])
        with self._lock:
            self._workspaces[made.id] = self._tokens[bot.token] = made
        ids = {"workspace": made.id, "token": bot.token, "bot": bot.id, "person": made.person}
        return {**ids, "page": page.id, "root": made.root.id}

    def first_workspace(self) -> dict[str, Any]:
        """The ids of the workspace that is there from the beginning, as `new_workspace` gives them."""
        return self.first

    def ask(self, name: str, *args: Any, workspace: str | None = None, **options: Any) -> Any:
        """What `controls` names; what belongs to a workspace, in this one, or in the first.

        Raises:
            ValueError: there is nothing of this name.
        """
        if name not in ("seen", "clear_seen", "first_workspace"):
            self._changed()
        with self._lock:
            if name in ACTS:
                return getattr(People(self._workspace(workspace)), name)(*args, **options)
            if name in SETTINGS:
                return getattr(Settings(self._workspace(workspace), self._tokens), name)(*args, **options)
            return super().ask(name, *args, **options)

    def _workspace(self, identity: str | None) -> Workspace:
        return self._workspaces[identity or self.first["workspace"]]

    def _served(self, asked: Asked) -> Reply:
        if asked.parts[:1] == ("files",):
            return self._file(asked)
        workspace, token = self._owner(asked)
        if workspace is None:
            form = 'Authorization header must use the format "Bearer <token>".'
            return _refused(usual(401) if token else Refusal(401, "unauthorized", form))
        reply = self._answered(asked, workspace, workspace.connections[token])
        if asked.method != "GET" and reply.endpoint not in ("data_sources.query", "search"):
            self._changed()
        path = "/".join(asked.parts[1:])
        seen = Seen(asked.at, reply.endpoint, reply.key, reply.status, reply.limited, asked.method, path)
        workspace.log.noted(seen)
        # by the clock of the workspace, as all times that it shows
        return replace(reply, headers={"Date": format_datetime(workspace.clock.now(), usegmt=True), **reply.headers})

    def _owner(self, asked: Asked) -> tuple[Workspace | None, str]:
        words = asked.headers.get("authorization", "").split()
        token = words[1] if len(words) == 2 and words[0].lower() == "bearer" else ""
        return self._tokens.get(token), token

    def _file(self, asked: Asked) -> Reply:
        found = self._workspaces.get(asked.parts[1]) if len(asked.parts) == 4 else None
        upload = found.uploads.get(asked.parts[2]) if found else None
        if upload is None:
            return Reply(404, b"")
        content = b"".join(upload.parts[number] for number in sorted(upload.parts))
        return Reply(200, content, "files", upload.id, {"Content-Type": upload.content_type})

    def _answered(self, asked: Asked, workspace: Workspace, bot: Connection) -> Reply:
        route = routes.found(asked.method, asked.parts[1:]) if asked.parts[:1] == ("v1",) else None
        endpoint = route[0].name if route else ""
        key = route[1][0] if route and route[1] else ""
        limit = workspace.limits[bot.token]
        if not limit.allows(asked.at):
            patience = limit.retry_after or str(max(1, -int(-limit.wait() // 1)))
            reply = _refused(usual(429), endpoint, key, **retry_after(patience))
            return replace(reply, limited=True)
        fault = workspace.faults.meet(endpoint, key)
        if fault is None:
            return self._effected(asked, workspace, bot, route)
        before = self._effected(asked, workspace, bot, route) if fault.effect else Reply(200, {}, endpoint, key)
        return _with(fault, before)

    def _effected(
        self, asked: Asked, workspace: Workspace, bot: Connection, route: tuple[routes.Route, tuple[str, ...]] | None
    ) -> Reply:
        endpoint, names = (route[0].name, route[1]) if route else ("", ())
        key = names[0] if names else ""
        if len(asked.text) > MOST_BYTES and endpoint != "file_uploads.send":
            return Reply(413, refusals.too_large(new_id()), endpoint, key)
        try:
            with self._lock:
                document = self._handled(asked, workspace, bot, route)
        except Refusal as refusal:
            return _refused(refusal, endpoint, key)
        request_id = new_id()
        headers = {"x-notion-request-id": request_id}
        return Reply(200, {**document, "request_id": request_id}, endpoint, key, headers)

    def _handled(
        self, asked: Asked, workspace: Workspace, bot: Connection, route: tuple[routes.Route, tuple[str, ...]] | None
    ) -> dict[str, Any]:
        if bot.revoked:
            raise usual(401)
        _insist_on_version(asked.headers.get("notion-version"))
        if route is None:
            raise Refusal(400, "invalid_request_url", "Invalid request URL.")
        multipart = asked.headers.get("content-type", "").startswith("multipart/")
        body = Given({}) if multipart or asked.method == "GET" else parsed(asked.text)
        answers = Answers(workspace, self.front.address)
        call = Call(workspace, bot, answers, route[1], asked.query, asked.pairs, body, asked.text, asked.headers)
        if route[0].capability:
            call.may(route[0].capability)
        workspace.attaching.clear()
        document = route[0].handle(call)
        workspace.attached()
        return document


def _insist_on_version(version: str | None) -> None:
    if version is None:
        raise Refusal(
            400,
            "missing_version",
            "Notion-Version header failed validation: Notion-Version header should be defined, "
            "instead was `undefined`.",
        )
    if version not in PUBLISHED:
        listed = ", ".join(f'`"{one}"`' for one in PUBLISHED[:-1])
        raise Refusal(
            400,
            "missing_version",
            f"Notion-Version header failed validation: Notion-Version header should be {listed}, "
            f'or `"{PUBLISHED[-1]}"`, instead was `"{version}"`.',
        )
    if version != VERSION:
        raise refusals.invalid(f'Notion-Version header should be `"{VERSION}"` here, instead was `"{version}"`.')


def _refused(refusal: Refusal, endpoint: str = "", key: str = "", **headers: str) -> Reply:
    request_id = new_id()
    document = refusals.document(refusal.status, refusal.code, str(refusal), request_id)
    return Reply(refusal.status, document, endpoint, key, {"x-notion-request-id": request_id, **headers})


def _with(fault: Fault, reply: Reply) -> Reply:
    """The reply with its fault; what the request has done is done."""
    if fault.status != 200:
        return _refused(usual(fault.status), reply.endpoint, reply.key, **fault.headers())
    return replace(reply, wire=fault.kind, seconds=fault.seconds, gate=fault.gate)
