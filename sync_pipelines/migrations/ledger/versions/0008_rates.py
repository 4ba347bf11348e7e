"""Rates of requests that several processes keep together."""

import sqlalchemy as sa
from alembic import op

from sync_pipelines import migrations

revision = "ledger_0008"
down_revision = "ledger_0007"
branch_labels = None
depends_on = None

_NOW = sa.text("now()")


def _column(name: str, kind: sa.types.TypeEngine, comment: str, **more) -> sa.Column:
    return sa.Column(name, kind, nullable=False, comment=comment, **more)


def upgrade() -> None:
    schema, moment = migrations.schema_name(), sa.DateTime(timezone=True)
    op.create_table(
        "sync_rates",
        _column("rate_name", sa.Text(), "The API's address and a hash of the key that it is asked with."),
        _column("next_at", moment, "The next slot that is free: requests are sent in slots.", server_default=_NOW),
        _column("slowdown", sa.Double(), "How much slower than allowed, at slowed_at.", server_default=sa.text("1")),
        _column("slowed_at", moment, "When the API last asked for less; it wears off.", server_default=_NOW),
        _column("updated_at", moment, "When slots were last taken.", server_default=_NOW),
        sa.PrimaryKeyConstraint("rate_name", name="sync_rates_pkey"),
        schema=schema,
        comment="Rates of requests that all processes keep together; one row each.",
        # ten times a second a row changes while a sync runs: on its page, without touching an index
        postgresql_with={"fillfactor": "50"},
    )
