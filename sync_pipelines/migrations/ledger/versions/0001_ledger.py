"""State, history, watermarks, quarantine, proofs and settings of every sync."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from sync_pipelines import migrations

revision = "ledger_0001"
down_revision = None
branch_labels = None
depends_on = None

_NOW = sa.text("now()")
_STATUSES = "IN ('running', 'completed', 'failed', 'cancelled')"


def _column(name: str, kind: sa.types.TypeEngine, comment: str, *, null: bool = False, **more) -> sa.Column:
    return sa.Column(name, kind, nullable=null, comment=comment, **more)


def _identity() -> sa.Column:
    return sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True, comment="Row number.")


def _place() -> tuple[sa.Column, sa.Column]:
    return (
        _column("sync_type", sa.Text(), "The sync, such as knowledge."),
        _column("table_name", sa.Text(), "The record kind within the sync, such as knowledge_reference."),
    )


def _at(name: str, comment: str, *, null: bool = False, now: bool = False) -> sa.Column:
    return _column(name, sa.DateTime(timezone=True), comment, null=null, server_default=_NOW if now else None)


def _total(name: str, comment: str) -> sa.Column:
    return _column(name, sa.BigInteger(), comment, server_default=sa.text("0"))


def _run_id(comment: str = "The Dagster run.") -> sa.Column:
    return _column("run_id", sa.Text(), comment)


def _table(name: str, *parts: sa.schema.SchemaItem, comment: str) -> None:
    op.create_table(name, *parts, schema=migrations.schema_name(), comment=comment)


def _index(name: str, table: str, columns: list, **more) -> None:
    op.create_index(name, table, columns, schema=migrations.schema_name(), **more)


def upgrade() -> None:
    _sync_metadata()
    _sync_logs()
    _sync_record_events()
    _sync_watermarks()
    _sync_quarantine()
    _reconciliation_runs()
    _sync_settings()


def _sync_metadata() -> None:
    _table(
        "sync_metadata",
        _identity(),
        *_place(),
        _at(
            "last_sync_timestamp",
            "The target holds what the source held at this time: when the last completed sync took its snapshot.",
            null=True,
        ),
        _column("last_sync_id", sa.Uuid(), "sync_logs.sync_id of the newest sync, whatever its status.", null=True),
        _total("records_synced", "Records that the last completed sync wrote, deleted or found to be right."),
        _column("sync_status", sa.Text(), "running, completed, failed or cancelled: of the newest sync."),
        _column("error_message", sa.Text(), "Why the newest sync failed; null when it did not.", null=True),
        _column("sync_duration_seconds", sa.Double(), "Seconds that the newest finished sync took.", null=True),
        _at("created_at", "When this sync first began.", now=True),
        _at("updated_at", "When this row last changed.", now=True),
        sa.UniqueConstraint("sync_type", "table_name", name="sync_metadata_place_key"),
        sa.CheckConstraint(f"sync_status {_STATUSES}", name="sync_metadata_status_check"),
        comment="Where each table of each sync stands; one row each.",
    )


def _sync_logs() -> None:
    _table(
        "sync_logs",
        _identity(),
        _column("sync_id", sa.Uuid(), "Names this row everywhere."),
        *_place(),
        _column("direction", sa.Text(), "From what to what, such as postgres-chroma.", server_default=""),
        _column("mode", sa.Text(), "incremental, full, rebuild, window, records or repair."),
        _column("trigger", sa.Text(), "Who asked: manual, schedule, sensor, cli or repair."),
        _column("status", sa.Text(), "running, completed, failed or cancelled."),
        _at("started_at", "When the run began with this table.", now=True),
        _at("completed_at", "When it ended, whatever its status.", null=True),
        *_totals(),
        _run_id(),
        _column(
            "reason", sa.Text(), "Why it read everything although nobody asked, such as first run.", server_default=""
        ),
        _column("error_message", sa.Text(), "Why it failed; null when it did not.", null=True),
        _at("created_at", "When this row was made.", now=True),
        sa.UniqueConstraint("sync_id", name="sync_logs_sync_id_key"),
        sa.CheckConstraint(f"status {_STATUSES}", name="sync_logs_status_check"),
        sa.CheckConstraint("(status = 'running') = (completed_at IS NULL)", name="sync_logs_completed_check"),
        comment="History: one row for each run and table, written when it begins; kept 90 days.",
    )
    _index("sync_logs_place_idx", "sync_logs", ["sync_type", "table_name", sa.text("id DESC")])
    _index("sync_logs_started_at_idx", "sync_logs", ["started_at"])
    _index("sync_logs_run_id_idx", "sync_logs", ["run_id"])
    _index(
        "sync_logs_running_idx",
        "sync_logs",
        ["sync_type", "table_name"],
        postgresql_where=sa.text("status = 'running'"),
    )


def _totals() -> tuple[sa.Column, ...]:
    return (
        _total("records_read", "Records read from the source."),
        _total("records_upserted", "Records written whole."),
        _total("records_metadata_only", "Records of which only fields beside the text were written."),
        _total("records_unchanged", "Records that the target already held as they are."),
        _total("records_deleted", "Records removed from the target."),
        _total("records_quarantined", "Records that were put into quarantine."),
        _total("records_failed", "Records that could not be fetched or written and stay due."),
        _column("duration_seconds", sa.Double(), "Seconds from begin to end.", null=True),
        _total("bytes", "Bytes read from the source."),
        _total("embedded_texts", "Texts that were embedded."),
        _total("embedded_characters", "Their characters."),
        _total("tokens", "Tokens that the embedding provider counted."),
        _column(
            "cost", sa.Numeric(), "Money, in the currency of the price setting; null where none is set.", null=True
        ),
    )


def _sync_record_events() -> None:
    _table(
        "sync_record_events",
        _identity(),
        *_place(),
        _column("record_key", sa.Text(), "The record's key, as text."),
        _column("event", sa.Text(), "failed, recovered (it arrived, or was deleted) or dropped (by an operator)."),
        _column("stage", sa.Text(), "Where it failed: read, map, embed or write.", null=True),
        _column("reason", sa.Text(), "Why it failed, without secrets.", null=True),
        _run_id("The Dagster run; empty for an operator's command."),
        _at("occurred_at", "When.", now=True),
        sa.CheckConstraint("event IN ('failed', 'recovered', 'dropped')", name="sync_record_events_event_check"),
        comment="Failure and recovery of single records; kept 90 days.",
    )
    _index(
        "sync_record_events_record_idx",
        "sync_record_events",
        ["sync_type", "table_name", "record_key", sa.text("id DESC")],
    )
    _index("sync_record_events_occurred_at_idx", "sync_record_events", ["occurred_at"])


def _sync_watermarks() -> None:
    _table(
        "sync_watermarks",
        *_place(),
        _column(
            "scope", sa.Text(), "Part of the table with a watermark of its own (a user); else empty.", server_default=""
        ),
        _column("watermark", JSONB(), "What has been read and confirmed by the target."),
        _at("confirmed_at", "When the target had it all.", now=True),
        _run_id(),
        sa.PrimaryKeyConstraint("sync_type", "table_name", "scope", name="sync_watermarks_pkey"),
        comment="How far each table has been read and confirmed; without its row a table is read whole.",
    )


def _sync_quarantine() -> None:
    _table(
        "sync_quarantine",
        *_place(),
        _column("record_key", sa.Text(), "The record's key, as text."),
        _column("reason", sa.Text(), "Why it cannot be stored, without secrets."),
        _column("stage", sa.Text(), "Where it failed: read, map, embed or write."),
        _at("first_seen", "When it first failed.", now=True),
        _at("last_seen", "When it last failed.", now=True),
        _column("attempts", sa.Integer(), "Runs in which it failed; outages do not count.", server_default="1"),
        _run_id("The Dagster run in which it last failed."),
        _column("fingerprint", sa.Text(), "The source row's fingerprint when it last failed.", null=True),
        _at("dropped_at", "When an operator accepted that it stays out, until its source row changes.", null=True),
        sa.PrimaryKeyConstraint("sync_type", "table_name", "record_key", name="sync_quarantine_pkey"),
        comment="Records that could not reach their target. One leaves by itself when it arrives or is deleted.",
    )


def _reconciliation_runs() -> None:
    _table(
        "reconciliation_runs",
        _identity(),
        *_place(),
        _column("kind", sa.Text(), "count, quick (fingerprints), deep (values) or repair."),
        _at("started_at", "When it began.", now=True),
        _at("finished_at", "When it ended; null while it runs or when it was killed.", null=True),
        _column("scope", sa.Text(), "What was compared: empty is the whole table.", server_default=""),
        _column("source_count", sa.BigInteger(), "Records in the source.", null=True),
        _column("target_count", sa.BigInteger(), "Records in the target.", null=True),
        _total("missing", "In the source and not in the target."),
        _total("stale", "In both, and not the same."),
        _total("extra", "In the target and not in the source."),
        _total("quarantined", "Left out because they are in quarantine."),
        _total("excluded", "Left out by a rule or by an operator's word."),
        _total("pending", "Left out because a change of them is on its way."),
        _total("repaired", "Records that were mended."),
        _column("sample", JSONB(), "Up to 20 keys of each sort of difference.", server_default=sa.text("'{}'::jsonb")),
        _run_id("The Dagster run; empty for a command beside it."),
        _column("error", sa.Text(), "Why it did not end; null when it did.", null=True),
        sa.CheckConstraint("kind IN ('count', 'quick', 'deep', 'repair')", name="reconciliation_runs_kind_check"),
        comment="Proofs of equality, and repairs; kept 90 days, the newest of each kind for ever.",
    )
    _index("reconciliation_runs_place_idx", "reconciliation_runs", ["sync_type", "table_name", sa.text("id DESC")])
    _index("reconciliation_runs_started_at_idx", "reconciliation_runs", ["started_at"])


def _sync_settings() -> None:
    _table(
        "sync_settings",
        _column("setting_key", sa.Text(), "<sync>.<name>, such as hotels.sync_interval.", primary_key=True),
        _column("setting_value", sa.Text(), "Its value, as it would stand in the environment."),
        _column("description", sa.Text(), "What it is for.", null=True),
        _at("updated_at", "When it was last set.", now=True),
        comment="Settings that hold without a restart; above environment and YAML, below a run's own config.",
    )
