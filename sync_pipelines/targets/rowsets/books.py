"""What the sync keeps of each document beside its rows, in five narrow tables; all SQL on them.

| table | a row | written |
|---|---|---|
| `<books>_payloads` | a document as it was last fetched, whole | when it changes |
| `<books>_checks` | when it was last asked for, and what came | at each check |
| `<books>_changes` | what changed in its rows, from what to what | at a real change |
| `<books>_fields` | a field that the documents have | when one is new |
| `<books>_requests` | requests of a day | at each batch of checks |

Documents of several kinds may share the tables; `part` tells them apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sync_pipelines.engine.sql import identifier, literal, qualified

Status = Literal["unfetched", "current", "absent", "failed", "refused", "waiting"]

STATUSES = ("unfetched", "current", "absent", "failed", "refused", "waiting")
"""What a check has found: nothing yet; the document; that there is none (404); no answer; one that breaks the contract;
one whose rows wait for others."""

LONGEST_NAME = 63 - len("_payloads")
"""Bytes of a name of books: PostgreSQL cuts what is longer than 63, and two tables would be one."""

_BOOKS = ("payloads", "checks", "changes", "fields", "requests")


@dataclass(frozen=True, kw_only=True)
class Books:
    """The tables of this name, and this part of them."""

    name: str
    part: str
    schema: str | None = None

    def table(self, what: str) -> str:
        """The quoted name of `<books>_<what>`."""
        return qualified(self.schema, f"{self.name}_{what}")

    @property
    def payloads(self) -> str:
        return self.table("payloads")

    @property
    def checks(self) -> str:
        return self.table("checks")

    @property
    def mine(self) -> str:
        """Condition: it is of this part."""
        return f"part = {literal(self.part)}"

    def ddl(self) -> list[str]:
        """The statements that make the tables where they are not there."""
        return [statement.format(**self._names()) for statement in _DDL]

    def tables(self) -> list[str]:
        """The tables' names, quoted."""
        return [self.table(what) for what in _BOOKS]

    def additions(self) -> list[str]:
        """The statements that bring tables of an earlier version to this one; they wait for all who read them."""
        return [
            f"ALTER TABLE {self.checks} ADD COLUMN IF NOT EXISTS gone boolean NOT NULL DEFAULT false",
            f"UPDATE {self.checks} SET gone = true WHERE status = 'absent'",
        ]

    def are_of_before(self) -> str:
        """Whether the checks lack the column that was added last."""
        checks = f"pg_catalog.to_regclass({literal(self.checks)})"
        return (
            f"SELECT {checks} IS NOT NULL AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute "
            f"WHERE attrelid = {checks} AND attname = 'gone' AND NOT attisdropped)"
        )

    def _names(self) -> dict[str, str]:
        names = {what: self.table(what) for what in _BOOKS}
        statuses = ", ".join(map(literal, STATUSES))
        return {**names, "statuses": statuses, "by_time": identifier(f"{self.name}_changes_changed_at_idx")}

    def note_checks(self, now: datetime) -> str:
        """An INSERT for `execute_values`: key, checked_at, fetched_at, status, http_status, reason.

        The time of a failure is noted as that of a check, but not as that of a fetch. Times are those of the database's
        clock, by which it is told what is due: one that is ahead would put it off, by one that is behind it would be
        due again at once.

        Args:
            now: by the clock that the times are of.
        """
        behind = f"greatest(pg_catalog.now() - {literal(now.isoformat())}::timestamptz, '0'::interval)"
        return f"""
INSERT INTO {self.checks} AS c (part, record_key, checked_at, fetched_at, status, http_status, reason, failures, gone)
SELECT {literal(self.part)}, v.record_key, least(v.checked_at + {behind}, pg_catalog.now()),
    CASE WHEN v.fetched_at IS NOT NULL THEN least(v.fetched_at + {behind}, pg_catalog.now()) END,
    v.status, v.http_status, v.reason, (v.status = 'failed')::int, v.status = 'absent'
FROM (VALUES %s) AS v(record_key, checked_at, fetched_at, status, http_status, reason)
ON CONFLICT (part, record_key) DO UPDATE SET
    checked_at = excluded.checked_at,
    fetched_at = coalesce(excluded.fetched_at, c.fetched_at),
    status = excluded.status,
    http_status = excluded.http_status,
    reason = excluded.reason,
    failures = CASE WHEN excluded.status = 'failed' THEN c.failures + 1 ELSE 0 END,
    gone = excluded.gone OR c.gone AND excluded.status = 'failed'"""

    def last_answers(self) -> str:
        """Of those of these keys (a parameter) that have a payload: key, and whether the last answer was that there is
        none; that it failed since is no answer."""
        return (
            f"SELECT record_key, c.gone FROM {self.payloads} AS p JOIN {self.checks} AS c USING (part, record_key) "
            f"WHERE p.{self.mine} AND p.record_key = ANY (%s)"
        )

    def note_payloads(self) -> str:
        """An INSERT for `execute_values`: key, payload, hash, first_seen_at, data_version, changed_at."""
        return f"""
INSERT INTO {self.payloads} AS p (part, record_key, payload, hash, first_seen_at, data_version, changed_at)
SELECT {literal(self.part)}, v.* FROM (VALUES %s) AS v
ON CONFLICT (part, record_key) DO UPDATE SET
    payload = excluded.payload,
    first_seen_at = CASE WHEN p.hash = excluded.hash THEN p.first_seen_at ELSE excluded.first_seen_at END,
    hash = excluded.hash,
    data_version = excluded.data_version,
    changed_at = excluded.changed_at"""

    def note_changes(self) -> str:
        """An INSERT for `execute_values`: key, data_version, path, old, new, changed_at."""
        return (
            f"INSERT INTO {self.table('changes')} (part, record_key, data_version, path, old, new, changed_at) "
            f"SELECT {literal(self.part)}, v.* FROM (VALUES %s) AS v"
        )

    def note_requests(self) -> str:
        """Requests of today (UTC): parameters are the api's name and how many more."""
        return (
            f"INSERT INTO {self.table('requests')} AS r (api, day, requests) VALUES (%s, {_TODAY}, %s) "
            "ON CONFLICT (api, day) DO UPDATE SET requests = r.requests + excluded.requests"
        )

    def requests(self, api: str) -> str:
        """How many requests were sent to an API today (UTC)."""
        return (
            f"SELECT coalesce(sum(requests), 0)::int8 AS requests FROM {self.table('requests')} "
            f"WHERE api = {literal(api)} AND day = {_TODAY}"
        )


_TODAY = "(pg_catalog.now() AT TIME ZONE 'UTC')::date"
"""By the database's clock, which all processes share: by another one, requests would be counted to another day."""

_DDL = (
    """CREATE TABLE IF NOT EXISTS {payloads} (
    part text NOT NULL,
    record_key text NOT NULL,
    payload jsonb NOT NULL,
    hash text NOT NULL,
    first_seen_at timestamptz NOT NULL,
    data_version bigint NOT NULL,
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (part, record_key)
)""",
    """CREATE TABLE IF NOT EXISTS {checks} (
    part text NOT NULL,
    record_key text NOT NULL,
    asked boolean NOT NULL DEFAULT true,
    checked_at timestamptz,
    fetched_at timestamptz,
    status text NOT NULL DEFAULT 'unfetched' CHECK (status IN ({statuses})),
    http_status int,
    reason text,
    failures int NOT NULL DEFAULT 0,
    gone boolean NOT NULL DEFAULT false,
    PRIMARY KEY (part, record_key)
) WITH (fillfactor = 70)""",
    """CREATE TABLE IF NOT EXISTS {changes} (
    part text NOT NULL,
    record_key text NOT NULL,
    data_version bigint NOT NULL,
    path text NOT NULL,
    old jsonb,
    new jsonb,
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (part, record_key, data_version, path)
)""",
    "CREATE INDEX IF NOT EXISTS {by_time} ON {changes} (changed_at)",
    """CREATE TABLE IF NOT EXISTS {fields} (
    part text NOT NULL,
    path text NOT NULL,
    kinds text[] NOT NULL,
    first_seen_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    expected boolean NOT NULL DEFAULT true,
    PRIMARY KEY (part, path)
)""",
    """CREATE TABLE IF NOT EXISTS {requests} (
    api text NOT NULL,
    day date NOT NULL,
    requests bigint NOT NULL,
    PRIMARY KEY (api, day)
)""",
    "COMMENT ON TABLE {payloads} IS 'Each document as it was last fetched, whole; first_seen_at is of this payload, "
    "data_version counts the real changes of its rows, changed_at is the time of the last.'",
    "COMMENT ON TABLE {checks} IS 'When each document was last asked for, and what came; written at each check.'",
    "COMMENT ON COLUMN {checks}.gone IS 'Its last answer was that there is none; a failure leaves it so.'",
    "COMMENT ON TABLE {changes} IS 'What changed in the rows of a document, from what to what, and when.'",
    "COMMENT ON TABLE {fields} IS 'The fields that the documents have; expected is false of one that is new.'",
    "COMMENT ON TABLE {requests} IS 'Requests sent to an API a day (UTC), by which a budget is kept.'",
)
