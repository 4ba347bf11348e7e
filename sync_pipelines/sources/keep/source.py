"""Google Keep as a source of notes: an export or an account, read as a listing that is compared with the last one."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from sync_pipelines.engine.errors import RecordError
from sync_pipelines.engine.ground import Forgetful
from sync_pipelines.engine.keys import NamedKey
from sync_pipelines.engine.ledger.ledger import Ledger
from sync_pipelines.engine.model import ChangeSet, FullRead, Pending, Scope, SourceIdentity, Watermark
from sync_pipelines.engine.naming import normal_key
from sync_pipelines.engine.spec import TableSpec
from sync_pipelines.engine.spool import KeyWriter, RecordWriter, Spool
from sync_pipelines.sources.keep.catalogue import NOTE, SCHEMA, Catalogue, catalogue
from sync_pipelines.sources.keep.raw import Look, Origin

_ALL = frozenset({"missing", "stale", "extra"})
_MAPPING = "the mapping changed"


@dataclass(frozen=True)
class KeepColumn:
    """A column of a batch; `pg_type` is what it holds."""

    name: str
    pg_type: str


@dataclass(frozen=True)
class KeepShape:
    """The columns of every user's notes."""

    columns: Sequence[KeepColumn]


class KeepSource(Forgetful):
    """One user's notes; implements `engine.binding.Source`. Nothing is opened or asked before the first question.

    Args:
        origin: the export (`export.ExportOrigin`) or the account (`account.AccountOrigin`).
        spec: the user's table; its key is `id`. ledger: remembers which note has which key.
        spool: the folder of temporary files.
    """

    def __init__(self, origin: Origin, spec: TableSpec, *, ledger: Ledger, spool: Path | None = None) -> None:
        self.origin, self.spec, self.ledger, self._spool = origin, spec, ledger, spool
        self._read: tuple[Mapping[str, Any], Catalogue] | None = None
        self._unnamed = 0
        self._lock = threading.RLock()

    # What a run asks

    def changes(self, scope: Scope, *, since: Watermark | None) -> ChangeSet:
        """What a run brings; see `engine.model.Scope`. An export that changed, or none was read before, comes whole."""
        taken_at = self.ledger.now()
        look = self.origin.look(anew=scope.full and scope.keys is None)
        if scope.keys is not None:
            return self._of_keys(look, scope, scope.keys)
        reason = scope.reason if scope.full else self._why_all(look, since)
        if scope.full or reason is not None:
            return self._whole(look, reason or "", taken_at)
        assert since is not None  # of a first run everything is read
        return self._changed(look, scope, since, taken_at)

    def _whole(self, look: Look, reason: str, taken_at: datetime) -> ChangeSet:
        found = self._listed(look)
        if self.absent_stays is None:
            self.ledger.note_ids_unseen(*self._place, before=taken_at, at=taken_at)
        return ChangeSet(
            upserts=found.records,
            deletes=(),
            watermark=self._watermark(look, taken_at),
            full=True,
            reason=reason,
            source_empty=not found.rows,
            rows=found.rows,
            on_close=[self.forget],
        )

    def _changed(self, look: Look, scope: Scope, since: Watermark, taken_at: datetime) -> ChangeSet:
        spool = Spool(self._spool)
        try:
            found = self._catalogued(look, since.position, spool)
            wanted = [*scope.also, *self._refused()]
            there = self._keys_among(found, wanted)
            also = [key for key in dict.fromkeys(wanted) if key not in there]
            with RecordWriter(spool, "changed", SCHEMA) as writer:
                for batch in (*found.records, *(self._listed(look).values(also) if also else ())):
                    writer.write(batch)
            with KeyWriter(spool, "gone") as gone:
                for page in self._gone(look, since.taken_at):
                    self.ledger.note_ids_gone(*self._place, page, at=taken_at)
                    gone.write(page)
        except BaseException:
            spool.close()
            raise
        return ChangeSet(
            upserts=writer.records(),
            deletes=gone.keys(),
            watermark=self._watermark(look, taken_at),
            reason=scope.reason,
            source_empty=gone.rows > 0 and next(iter(look.notes(None)), None) is None,
            rows=writer.rows,
            # an account was asked, and that is to be remembered, also where nothing had changed
            touched=max(found.rows + gone.rows, int(self.origin.tells_changes)),
            on_close=[self.forget, spool.close],
        )

    def _refused(self) -> list[str]:
        """Notes that the target refused: what it refuses may pass (a limit, a missing right), and they are tried anew.

        One that could not be read or mapped is as it was, for else it would be among those that changed.
        """
        held = self.ledger.list_quarantine(*self._place, dropped=False, limit=None)
        return [item.key for item in held if item.stage == "write"]

    def _of_keys(self, look: Look, scope: Scope, keys: Sequence[str]) -> ChangeSet:
        """Just these records; one that is not there is a delete where the source is whole."""
        found = self._listed(look)
        spool = Spool(self._spool)
        with RecordWriter(spool, "chosen", SCHEMA) as writer:
            for batch in found.values(keys):
                writer.write(batch)
        there = self._keys_among(found, keys)
        with KeyWriter(spool, "gone") as gone:
            if self.absent_stays is None:
                gone.write([key for key in keys if key not in there])
        return ChangeSet(
            upserts=writer.records(),
            deletes=gone.keys(),
            watermark=None,
            reason=scope.reason,
            source_empty=not found.rows,
            rows=writer.rows,
            touched=len(keys),
            on_close=[self.forget, spool.close],
        )

    def _keys_among(self, found: Catalogue, keys: Sequence[str]) -> set[str]:
        wanted = set(keys)
        return {key for page in found.pages() if wanted for key in page if key in wanted}

    def _gone(self, look: Look, since: datetime | None) -> Iterator[list[str]]:
        """Keys of notes that an account has no more, and of which no confirmed run was told."""
        if not self.origin.tells_changes:
            return
        for page in self.ledger.every_note_id(*self._place):
            lost = [item for item in page if item.gone_at is not None or not self._is_there(look, item.node)]
            if found := [item.key for item in lost if item.gone_at is None or since is None or item.gone_at > since]:
                yield found

    def _is_there(self, look: Look, node: str | None) -> bool:
        return node is None or look.has_node(node)

    def _why_all(self, look: Look, since: Watermark | None) -> str | None:
        return self._mapped_otherwise(since) or self._reason(since, look.position)

    def _reason(self, since: Watermark | None, position: Mapping[str, Any]) -> str | None:
        return "first run" if since is None else self.origin.why_all(since.position, position)

    def _mapped_otherwise(self, since: Watermark | None) -> str | None:
        if since is None:
            return None
        same = since.capture == "listing" and since.mapping == self.spec.mapping_hash
        return None if same else _MAPPING

    def _watermark(self, look: Look, taken_at: datetime) -> Watermark:
        identity = SourceIdentity(
            system_identifier=str(look.position["kind"]), timeline=0, database=self.spec.name, table_oid=0
        )
        return Watermark(
            capture="listing",
            position=self.origin.lasting(self._confirmed(), look.position),
            source=identity,
            key=self.spec.key,
            mapping=self.spec.mapping_hash,
            taken_at=taken_at,
        )

    @property
    def absent_stays(self) -> str | None:
        """Why a note that the source lacks is not taken for deleted, as far as is known now; None where it is."""
        if (why := self.origin.whole(self._confirmed())) is not None:
            return why
        if self._unnamed:
            return f"{self._unnamed} files of the export could not be read, and may be the notes that are missing"
        return None

    def _confirmed(self) -> Mapping[str, Any]:
        """The position of the last run that has ended well."""
        known = self.ledger.watermark(*self._place)
        return known.position if known is not None else {}

    def attachment(self, key: str, name: str) -> AbstractContextManager[BinaryIO]:
        """A context manager of an attachment's bytes.

        Raises:
            RecordError: the source does not have them.
        """
        return self._attachment(key, name)

    @contextmanager
    def _attachment(self, key: str, name: str) -> Generator[BinaryIO]:
        with self._lock:
            listed = self._read[1] if self._read is not None else self._listed(self.origin.known())
        where = listed.where(key, name)
        if where is None or where[0] == -1:
            raise RecordError(
                f"the bytes of attachment {name!r} are not in the source.",
                sync=self.spec.sync,
                table=self.spec.name,
                key=key,
                remedy="Ask Takeout for another export, and name all of its parts.",
            )
        with self.origin.open(where) as file:
            yield file

    # What a proof asks

    @contextmanager
    def at_snapshot(self) -> Generator[Catalogue]:
        """All notes of now."""
        yield self._listed(self.origin.look())

    def values(self, keys: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The rows of these keys, as they were last looked at; keys that are not there are left out."""
        if keys:
            yield from self._listed(self.origin.known()).values(keys)

    def named(self, keys: Sequence[str]) -> dict[str, NamedKey]:
        """The keys that somebody has named, and whether the source had such notes when it was last read.

        Raises:
            ConfigurationError: one is no key of this table.
        """
        spelled = {key: normal_key(self.spec, key) for key in keys}
        there = self.ledger.note_keys_among(*self._place, list(spelled.values()))
        return {key: NamedKey(text, text in there) for key, text in spelled.items()}

    def pending_keys(self, since: Watermark | None) -> Iterator[list[str]]:
        """Keys that the next run writes or deletes, as far as is known without asking anybody; none where it reads
        everything."""
        look = self.origin.known()
        if self._why_all(look, since) is not None or since is None:
            return
        with self._for_a_while(look, since.position) as found:
            yield from found.pages()
        yield from self._gone(look, since.taken_at)

    def full_read(self, since: Watermark | None) -> FullRead | None:
        """Why the next run will read everything, whose work all differences are then; None where it will not."""
        if since is None:
            return None
        reason = self._why_all(self.origin.known(), since)
        return FullRead(reason=reason, explains=_ALL) if reason else None

    # What a sensor and an operator ask

    def pending(self, since: Watermark | None) -> Pending:
        """What waits: of an export whether it is another one, of an account how long ago it was read."""
        if since is None or (reason := self._mapped_otherwise(since)) is not None:
            return Pending(full_reason="first run" if since is None else reason)
        return self.origin.pending(since.position, since.taken_at)

    def resting(self) -> str | None:
        return None

    def capture_warnings(self) -> list[str]:
        """What an operator should know; `status` shows it."""
        return self.origin.warnings(self._confirmed())

    def inspect(self) -> KeepShape:
        """The columns, which all users' notes have."""
        return KeepShape([KeepColumn("id", "text"), KeepColumn(NOTE, "jsonb")])

    # The listing

    @property
    def _place(self) -> tuple[str, str]:
        return self.spec.sync, self.spec.name

    def _listed(self, look: Look) -> Catalogue:
        """All notes of a look; read once while the source's state is the same, whichever thread asks first."""
        with self._lock:
            if self._read is not None and self._read[0] == look.position:
                return self._read[1]
            self._drop()
            found = self._catalogued(look, None, Spool(self._spool))
            self._read, self._unnamed = (look.position, found), found.unnamed
            return found

    def _catalogued(self, look: Look, after: Mapping[str, Any] | None, spool: Spool) -> Catalogue:
        try:
            return catalogue(look.notes(after), spec=self.spec, book=self.ledger, spool=spool)
        except BaseException:
            spool.close()
            raise

    @contextmanager
    def _for_a_while(self, look: Look, after: Mapping[str, Any]) -> Generator[Catalogue]:
        found = self._catalogued(look, after, Spool(self._spool))
        try:
            yield found
        finally:
            found.close()

    def forget(self) -> None:
        """Delete the temporary files of what was read, and close what is open."""
        self.origin.close()
        self._drop()

    def _drop(self) -> None:
        read, self._read = self._read, None
        if read is not None:
            with suppress(OSError):
                read[1].close()
