"""A user whose account is in the stand-in of Keep."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet

from sync_pipelines.engine.ledger.ledger import Ledger
from sync_pipelines.engine.model import KEY, PROBLEM, ChangeSet, Scope, Watermark
from sync_pipelines.engine.vault import Vault
from sync_pipelines.sandbox.keep.api import Keep
from sync_pipelines.sandbox.keep.model import SandboxFile, SandboxNote
from sync_pipelines.sandbox.keep.server import addresses
from sync_pipelines.sources.keep.account import AccountOrigin, Client, Login
from sync_pipelines.sources.keep.source import KeepSource
from sync_pipelines.sources.keep.state import SealedStates
from sync_pipelines_tests.sources.keep.exports import FIRST, SPEC

EMAIL = "ann@example.com"
PICTURE = SandboxFile(name="p.png", mime="image/png", content=b"a picture")


class Live:
    """A user whose account is in the stand-in."""

    def __init__(self, keep: Keep, ledger: Ledger, root: Path) -> None:
        self.keep, self.ledger, self.root = keep, ledger, root
        self.master_token = keep.new_account(EMAIL)
        self.vault = Vault(Fernet.generate_key().decode())
        self.now, self.slept = 0.0, []
        ledger.add_user("notes", "ann", config={}, secrets=b"sealed")

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def client(self, **changes: Any) -> Client:
        found = addresses(self.keep.address)
        login = Login(
            sync="notes",
            user="ann",
            email=EMAIL,
            master_token=self.master_token,
            api_url=found["KEEP_API_URL"],
            auth_url=found["KEEP_AUTH_URL"],
            media_url=found["KEEP_MEDIA_URL"],
            timeout=10.0,
        )
        return Client(replace(login, **changes), sleep=self.sleep, clock=lambda: self.now)

    def source(self, **changes: Any) -> KeepSource:
        """The source of a new process: it knows what the ledger knows."""
        client = self.client(**changes)
        origin = AccountOrigin(client, self.states(client.login.email))
        return KeepSource(origin, SPEC, ledger=self.ledger, spool=self.root / "spool")

    def states(self, account: str = EMAIL) -> SealedStates:
        return SealedStates(book=self.ledger, vault=self.vault, sync="notes", user="ann", account=account)

    def put(self, *notes: SandboxNote, ids: list[str | None] | None = None) -> list[str]:
        return self.keep.put(EMAIL, *(note.document() for note in notes), ids=ids)

    def run(self, since: Watermark | None = None, **scope: Any) -> tuple[dict[str, Any], ChangeSet]:
        """What a run brings, by key: the note's document, or its problem."""
        changes = self.source().changes(Scope(**scope), since=since)
        return documents(changes.upserts), changes

    def asked(self) -> int:
        """How often the stand-in was asked for changes since this was last asked."""
        count = self.keep.seen()["endpoints"].get("changes", 0)
        self.keep.clear_seen()
        return count


def documents(batches: Any) -> dict[str, Any]:
    rows = [row for batch in batches for row in batch.to_pylist()]
    return {row[KEY]: row[PROBLEM] if row["note"] is None else json.loads(row["note"]) for row in rows}


def note(number: int = 0, **changes: Any) -> SandboxNote:
    return SandboxNote(created=FIRST + number * 1000, edited=FIRST + 5000, title=f"note {number}", **changes)
