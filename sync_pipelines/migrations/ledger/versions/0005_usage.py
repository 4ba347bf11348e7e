"""What each run has used: processor, memory, bytes, files, the warehouse; and what a refused deletion waits for."""

import sqlalchemy as sa
from alembic import op

from sync_pipelines import migrations

revision = "ledger_0005"
down_revision = "ledger_0004"
branch_labels = None
depends_on = None

_USED = (
    ("cpu_seconds", sa.Double(), "Of the run's process and the children that have ended."),
    ("peak_memory", sa.BigInteger(), "Bytes, resident: the most that the run's process has held since it began."),
    ("warehouse_seconds", sa.Double(), "For which the run's statements were at work on a warehouse; null without one."),
    ("files_rewritten", sa.BigInteger(), "Data files that were put in the place of others; null where unknown."),
)


def upgrade() -> None:
    schema = migrations.schema_name()
    for name, kind, comment in _USED:
        op.add_column("sync_logs", sa.Column(name, kind, comment=comment), schema=schema)
    read = sa.Column(
        "bytes_read",
        sa.BigInteger(),
        nullable=False,
        server_default="0",
        comment="Bytes read from the source, as the run holds them.",
    )
    op.add_column("sync_logs", read, schema=schema)
    op.alter_column("sync_logs", "bytes", comment="Bytes written to the target, as the run holds them.", schema=schema)
    op.alter_column(
        "sync_quarantine",
        "waits_for",
        comment="Of stage wait: the foreign key and what its columns hold, as texts; of delete: what holds it.",
        schema=schema,
    )
