"""Google Keep as gkeepapi sees it: sign-in, `changes`, media; and what its stand-in can be asked for beside that."""

from __future__ import annotations

import hmac
import secrets
import threading
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import parse_qs

from sync_pipelines.sandbox.keep.account import Account
from sync_pipelines.sandbox.keep.model import note_of
from sync_pipelines.sandbox.stand_ins import faults
from sync_pipelines.sandbox.stand_ins.front import WIRE, Asked, Reply
from sync_pipelines.sandbox.stand_ins.service import StandIn

STATUSES = ("400", "401", "403", "404", "429", "500", "502", "503", "504")
CONTROLS = (
    "new_account", "put", "delete", "rename_label", "delete_label", "revoke", "expire", "resync", "page_size", "fault",
    "clear_faults", "seen", "clear_seen", "notes",
)  # fmt: skip
"""What may be asked of a stand-in beside Google's own endpoints."""


@dataclass
class Fault(faults.Fault):
    """One fault and whom it meets; `endpoint` is auth, changes, media or content, `key` the account's e-mail."""

    kinds: ClassVar[tuple[str, ...]] = (*STATUSES, *WIRE)


class Keep(StandIn):
    """The stand-in; the arguments are those of `StandIn`."""

    controls: ClassVar[tuple[str, ...]] = CONTROLS

    def __init__(self, *, key: str, port: int = 0) -> None:
        self._lock = threading.RLock()
        self._accounts: dict[str, Account] = {}
        self._faults = faults.Faults[Fault]()
        super().__init__(key=key, port=port)

    def ask(self, name: str, *args: Any, **options: Any) -> Any:
        """What `controls` names, one at a time."""
        with self._lock:
            return super().ask(name, *args, **options)

    def new_account(self, email: str) -> str:
        """An empty account; its master token."""
        self._accounts[email] = Account(email)
        return self._accounts[email].master_token

    def put(self, email: str, *notes: dict[str, Any], ids: list[str | None] | None = None) -> list[str]:
        """Make notes, or give those with these ids another content; their ids.

        Args:
            notes: as `SandboxNote.document` tells them.
        """
        account = self._accounts[email]
        return [account.put(note_of(one), key) for one, key in zip(notes, ids or [None] * len(notes), strict=True)]

    def delete(self, email: str, *ids: str) -> None:
        """Delete notes for good."""
        for key in ids:
            self._accounts[email].delete(key)

    def rename_label(self, email: str, old: str, new: str) -> None:
        """Give a label another name."""
        self._accounts[email].rename_label(old, new)

    def delete_label(self, email: str, name: str) -> None:
        """Take a label away."""
        self._accounts[email].delete_label(name)

    def revoke(self, email: str, *, revoked: bool = True) -> None:
        """Let the master token, and what was given for it, be invalid from now on, or valid again."""
        self._accounts[email].revoked = revoked
        self._accounts[email].access.clear()

    def expire(self, email: str) -> None:
        """Let access tokens expire, so that a client must ask for another one."""
        self._accounts[email].access.clear()

    def resync(self, email: str, *, wanted: bool = True) -> None:
        """Tell clients that know a version to read all again."""
        self._accounts[email].full_resync = wanted

    def page_size(self, email: str, nodes: int) -> None:
        """Set how many nodes one answer has."""
        self._accounts[email].page = nodes

    def notes(self, email: str) -> list[str]:
        """The ids of the notes that are there, oldest first."""
        return list(self._accounts[email].children.get("root", ()))

    def fault(self, kind: str, **options: Any) -> None:
        """Let requests meet a fault; the options are those of `Fault`."""
        self._faults.add(Fault(kind, **options))

    def clear_faults(self) -> None:
        """Forget all faults."""
        self._faults.clear()

    def _served(self, asked: Asked) -> Reply:
        endpoint = _endpoint(asked)
        with self._lock:
            account = self._asking(asked, endpoint)
            key = account.email if account else ""
            fault = self._faults.meet(endpoint, key)
            if fault is not None and fault.status != 200:
                refused = _refused(fault.status, endpoint, key)
                refused.headers.update(fault.headers())
                return refused
            reply = self._answered(asked, endpoint, account)
        reply.endpoint, reply.key = endpoint, key
        if fault is not None:
            reply.wire, reply.seconds, reply.gate = fault.kind, fault.seconds, threading.Event()
        return reply

    def _asking(self, asked: Asked, endpoint: str) -> Account | None:
        """The account that a request speaks for; None: none that is known, or not any more."""
        if endpoint == "auth":
            form = _form(asked)
            account = self._accounts.get(form.get("Email", ""))
            return account if account and _same(form.get("EncryptedPasswd", ""), account.master_token) else None
        if endpoint == "content":
            return self._accounts.get(asked.parts[1])
        token = asked.headers.get("authorization", "").removeprefix("OAuth ")
        return next((one for one in self._accounts.values() if token in one.access), None)

    def _answered(self, asked: Asked, endpoint: str, account: Account | None) -> Reply:
        if endpoint == "auth":
            return _signed_in(account)
        if endpoint == "":
            return _refused(404)
        if account is None:
            return _refused(401)
        if endpoint == "changes":
            body = asked.body or {}
            account.take(body.get("nodes", []), body.get("userInfo", {}).get("labels", []))
            return Reply(200, account.changes(body.get("targetVersion")))
        if endpoint == "media":
            return self._moved(asked, account)
        kind, content = account.contents.get(asked.parts[2], ("", b""))
        return Reply(200, content, headers={"Content-Type": kind}) if kind else Reply(404, b"")

    def _moved(self, asked: Asked, account: Account) -> Reply:
        """Where a file's bytes are: at an address that asks for no token, as Google's does."""
        if asked.parts[3] not in account.contents:
            return _refused(404)
        place = f"{self.address}/content/{account.email}/{asked.parts[3]}"
        return Reply(302, b"", headers={"Location": place})


def _endpoint(asked: Asked) -> str:
    match (asked.method, *asked.parts):
        case ("POST", "auth"):
            return "auth"
        case ("POST", "notes", "v1", "changes"):
            return "changes"
        case ("GET", "media", "v2", _, _) | ("GET", "media", "v2", _, _, _):
            return "media"
        case ("GET", "content", _, _):
            return "content"
    return ""


def _form(asked: Asked) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(asked.text.decode()).items()}


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())


def _signed_in(account: Account | None) -> Reply:
    """Lines of names and values, as Google's sign-in answers."""
    if account is None or account.revoked:
        return Reply(403, b"Error=BadAuthentication\n", headers={"Content-Type": "text/plain"})
    token = f"ya29.{secrets.token_hex(20)}"
    account.access.add(token)
    return Reply(200, f"Auth={token}\nExpiry=3599\nissueAdvice=auto\n".encode(), headers={"Content-Type": "text/plain"})


_SAID = {
    401: "Request had invalid authentication credentials.",
    404: "Requested entity was not found.",
    429: "Quota exceeded.",
}


def _refused(status: int, endpoint: str = "", key: str = "") -> Reply:
    return Reply(status, {"error": {"code": status, "message": _SAID.get(status, "Failed.")}}, endpoint, key)
