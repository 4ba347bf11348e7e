"""What Alembic runs for both branches; `sync_pipelines.migrations` puts everything into `attributes`."""

from typing import Any

from alembic import context

from sync_pipelines.engine.sql import identifier, literal

attributes = context.config.attributes
schema: str = attributes["schema"]
common: dict[str, Any] = {"version_table": attributes["version_table"], "version_table_schema": schema}

# IF NOT EXISTS alone asks for the right to create schemas even where a DBA has made this one already.
CREATE_SCHEMA = f"""DO $create$ BEGIN
IF NOT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = {literal(schema)}) THEN
    CREATE SCHEMA {identifier(schema)};
END IF;
END $create$"""

if context.is_offline_mode():
    # Named parameters: with psycopg2's own style every % would come out doubled.
    context.configure(dialect_name="postgresql", literal_binds=True, dialect_opts={"paramstyle": "named"}, **common)
else:
    context.configure(connection=attributes["connection"], **common)

with context.begin_transaction():
    context.execute(attributes["as_text"](CREATE_SCHEMA))
    context.run_migrations()
