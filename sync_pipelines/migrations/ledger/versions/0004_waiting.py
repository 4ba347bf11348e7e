"""What a record waits for, so that its parent's arrival is seen; and what somebody decided of a conflict."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from sync_pipelines import migrations

revision = "ledger_0004"
down_revision = "ledger_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    schema = migrations.schema_name()
    op.add_column(
        "sync_quarantine",
        sa.Column("waits_for", JSONB(), comment="Of stage wait: the foreign key, and what its columns hold as texts."),
        schema=schema,
    )
    op.add_column(
        "sync_conflicts",
        sa.Column("source_fingerprint", sa.Text(), comment="Of the source's row; null where the source lacks it."),
        schema=schema,
    )
    op.add_column(
        "sync_conflicts",
        sa.Column(
            "accepted_at",
            sa.DateTime(timezone=True),
            comment="When somebody took the target's state; null again when the source's row changes.",
        ),
        schema=schema,
    )
