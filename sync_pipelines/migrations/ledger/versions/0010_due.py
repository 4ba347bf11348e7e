"""How much a run has to do, so that its progress can be told while it goes on."""

import sqlalchemy as sa
from alembic import op

from sync_pipelines import migrations

revision = "ledger_0010"
down_revision = "ledger_0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    told = "Records that it has to write or delete, as far as it knew when it had read; null before that."
    op.add_column("sync_logs", sa.Column("records_due", sa.BigInteger(), comment=told), schema=migrations.schema_name())
