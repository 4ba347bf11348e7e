"""Which record an entity is, where its id is no key: so that what is noted of the record stands with the entity."""

import sqlalchemy as sa
from alembic import op

from sync_pipelines import migrations

revision = "ledger_0011"
down_revision = "ledger_0010"
branch_labels = None
depends_on = None

_KEY = "The key of its record, by its last event, where the entity_id is another text; else null."
_BASE = (
    "Not used: what was last synced is sync_bases.data of this sync and table, whose record_key is this one or, where "
    "that is null, the entity_id."
)


def upgrade() -> None:
    schema = migrations.schema_name()
    op.add_column("sync_status", sa.Column("record_key", sa.Text(), comment=_KEY), schema=schema)
    op.create_index(
        "sync_status_record_idx",
        "sync_status",
        ["sync_type", "table_name", "record_key"],
        schema=schema,
        postgresql_where=sa.text("record_key IS NOT NULL"),
    )
    op.alter_column("sync_status", "base", comment=_BASE, schema=schema)
