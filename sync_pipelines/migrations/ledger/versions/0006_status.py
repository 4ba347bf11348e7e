"""What is known of each entity of a sync that follows events: its versions on both sides, and its last synced base."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from sync_pipelines import migrations

revision = "ledger_0006"
down_revision = "ledger_0005"
branch_labels = None
depends_on = None

_NOW = sa.text("now()")
_NO = sa.text("false")


def _column(name: str, kind: sa.types.TypeEngine, comment: str, *, null: bool = False, **more) -> sa.Column:
    return sa.Column(name, kind, nullable=null, comment=comment, **more)


def upgrade() -> None:
    schema = migrations.schema_name()
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "sync_status",
        _column("sync_type", sa.Text(), "The sync, such as learning."),
        _column("table_name", sa.Text(), "The record kind within the sync, such as concept."),
        _column("entity_type", sa.Text(), "The sort of entity, as events name it."),
        _column("entity_id", sa.Text(), "The entity's key, as text."),
        _column("source_version", sa.BigInteger(), "Of the newest event that is known; null before.", null=True),
        _column("target_version", sa.BigInteger(), "Of the event that the target holds; null before.", null=True),
        _column("base", JSONB(), "The properties that were last synced; null where nothing was.", null=True),
        _column("has_pending_changes", sa.Boolean(), "An event of it has not arrived.", server_default=_NO),
        _column(
            "has_conflict", sa.Boolean(), "Source and target have both changed since the base.", server_default=_NO
        ),
        _column("last_synced_at", moment, "When the target last received an event of it.", null=True),
        _column("tombstone", sa.Boolean(), "It was deleted: a version up to the target's is late.", server_default=_NO),
        _column("updated_at", moment, "When this row last changed.", server_default=_NOW),
        sa.PrimaryKeyConstraint("sync_type", "table_name", "entity_id", name="sync_status_pkey"),
        schema=schema,
        comment="Where each entity of a sync that follows events stands; one row each.",
    )
    op.create_index(
        "sync_status_open_idx",
        "sync_status",
        ["sync_type", "table_name", "entity_id"],
        schema=schema,
        postgresql_where=sa.text("has_pending_changes OR has_conflict"),
    )
