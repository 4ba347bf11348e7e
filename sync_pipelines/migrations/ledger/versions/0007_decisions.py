"""The values of what was last synced, and of each conflict both sides, what was decided, by whom and why."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from sync_pipelines import migrations

revision = "ledger_0007"
down_revision = "ledger_0006"
branch_labels = None
depends_on = None

_BASE = (
    ("data", "The values of the row of `fingerprint`; null where the table needs none. Sensitive ones are hashes."),
    ("previous_data", "Those of the row of `previous`."),
)
_DECIDED = (
    ("strategy", sa.Text(), "The strategy by which it was judged."),
    ("method", sa.Text(), "How it was decided: a strategy; null while nobody has."),
    ("resolved_by", sa.Text(), "Who has decided; `strategy` where no person had to."),
    ("resolution_notes", sa.Text(), "What they have said of it."),
    ("decided_at", sa.DateTime(timezone=True), "When it was decided."),
    ("source_version", sa.Text(), "The source's version then; null where there is none."),
    ("target_version", sa.Text(), "The target's version then."),
    ("source_data", JSONB(), "The source's values then; null where it had no such record. Sensitive ones are hashes."),
    ("target_data", JSONB(), "The target's values then, likewise."),
    ("base_data", JSONB(), "What was last synced, likewise."),
)


def upgrade() -> None:
    schema = migrations.schema_name()
    for name, comment in _BASE:
        op.add_column("sync_bases", sa.Column(name, JSONB(), comment=comment), schema=schema)
    for name, kind, comment in _DECIDED:
        op.add_column("sync_conflicts", sa.Column(name, kind, comment=comment), schema=schema)
    review = sa.Column(
        "review", sa.Boolean(), nullable=False, server_default=sa.text("false"), comment="It waits for a person."
    )
    op.add_column("sync_conflicts", review, schema=schema)
    op.create_index(
        "sync_conflicts_record_idx", "sync_conflicts", ["sync_type", "table_name", "record_key", "id"], schema=schema
    )
    op.create_index(
        "sync_conflicts_review_idx",
        "sync_conflicts",
        ["sync_type", "table_name"],
        schema=schema,
        postgresql_where=sa.text("review AND resolved_at IS NULL AND accepted_at IS NULL"),
    )
    op.alter_column("sync_status", "base", comment="Not used: what was last synced is sync_bases.data.", schema=schema)
