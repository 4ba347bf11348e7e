"""What deep proofs, touched keys and repairs need: named keys, buckets, and the watermark before the last."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from sync_pipelines import migrations

revision = "ledger_0002"
down_revision = "ledger_0001"
branch_labels = None
depends_on = None

_EMPTY = sa.text("'{}'::jsonb")


def _column(name: str, kind: sa.types.TypeEngine, comment: str, *, null: bool = False, **more) -> sa.Column:
    return sa.Column(name, kind, nullable=null, comment=comment, **more)


def upgrade() -> None:
    schema = migrations.schema_name()
    proofs = "reconciliation_runs"
    op.add_column(
        proofs,
        _column("reasons", JSONB(), "Why sample keys differ, by key.", server_default=_EMPTY),
        schema=schema,
    )
    op.add_column(
        proofs,
        _column("buckets", JSONB(), "Of a repair: bucket of keys → [found, repaired].", server_default=_EMPTY),
        schema=schema,
    )
    op.add_column(
        "sync_watermarks",
        _column(
            "previous", JSONB(), "The watermark before this one: what the last run touched lies between.", null=True
        ),
        schema=schema,
    )
    op.create_table(
        "reconciliation_keys",
        _column("sync_type", sa.Text(), "The sync, such as knowledge."),
        _column("table_name", sa.Text(), "The record kind within the sync, such as knowledge_reference."),
        _column("record_key", sa.Text(), "The record's key, as text."),
        _column("kind", sa.Text(), "missing, stale or extra."),
        _column("reason", sa.Text(), "What differs."),
        _column("broken", sa.Boolean(), "Its values are right, but what is derived from them is not."),
        _column("proof_id", sa.BigInteger(), "reconciliation_runs.id of the deep proof that named it."),
        sa.PrimaryKeyConstraint("sync_type", "table_name", "record_key", name="reconciliation_keys_pkey"),
        sa.CheckConstraint("kind IN ('missing', 'stale', 'extra')", name="reconciliation_keys_kind_check"),
        schema=schema,
        comment="Keys that the newest deep proof of a table named, until a repair has mended them.",
    )
