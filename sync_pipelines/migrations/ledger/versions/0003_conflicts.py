"""What targets that others may edit need: bases, conflicts, and stamps of targets that hold none themselves."""

import sqlalchemy as sa
from alembic import op

from sync_pipelines import migrations

revision = "ledger_0003"
down_revision = "ledger_0002"
branch_labels = None
depends_on = None

_NOW = sa.text("now()")


def _column(name: str, kind: sa.types.TypeEngine, comment: str, *, null: bool = False, **more) -> sa.Column:
    return sa.Column(name, kind, nullable=null, comment=comment, **more)


def _place() -> list[sa.Column]:
    return [
        _column("sync_type", sa.Text(), "The sync, such as voice."),
        _column("table_name", sa.Text(), "The record kind within the sync, such as ai_analyses."),
    ]


def upgrade() -> None:
    schema = migrations.schema_name()
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "sync_bases",
        *_place(),
        _column("record_key", sa.Text(), "The record's key, as text."),
        _column("fingerprint", sa.Text(), "Of the row that the sync has last written, or was about to write."),
        _column("previous", sa.Text(), "Of the one before: what the target holds where its commit failed.", null=True),
        _column("noted_at", moment, "When the fingerprint was noted.", server_default=_NOW),
        sa.PrimaryKeyConstraint("sync_type", "table_name", "record_key", name="sync_bases_pkey"),
        schema=schema,
        comment="What a sync has last written of each record into a target that others may edit.",
    )
    op.create_table(
        "sync_conflicts",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True, comment="Row number."),
        *_place(),
        _column("record_key", sa.Text(), "The record's key, as text."),
        _column("reason", sa.Text(), "Why the target's state stays."),
        _column("detected_at", moment, "When it was found.", server_default=_NOW),
        _column("resolved_at", moment, "When both sides were the same again; null while they differ.", null=True),
        _column("run_id", sa.Text(), "The Dagster run that saw it last."),
        schema=schema,
        comment="Records that stay in their target as they are, although the source says otherwise.",
    )
    op.create_index(
        "sync_conflicts_open_idx",
        "sync_conflicts",
        ["sync_type", "table_name", "record_key"],
        unique=True,
        schema=schema,
        postgresql_where=sa.text("resolved_at IS NULL"),
    )
    op.create_table(
        "sync_stamps",
        *_place(),
        _column("stamp", sa.Text(), "What the last confirmed run has left."),
        sa.PrimaryKeyConstraint("sync_type", "table_name", name="sync_stamps_pkey"),
        schema=schema,
        comment="The last confirmed run of targets that can hold no mark of it themselves.",
    )
