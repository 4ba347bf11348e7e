"""What stands in the sandbox's application database before anyone uses it."""

from sync_pipelines import migrations
from sync_pipelines.engine.sql import qualified
from sync_pipelines.engine.urls import normalise_url
from sync_pipelines.resources.environment import sync_schema
from sync_pipelines.sandbox import application
from sync_pipelines.sandbox.cupid.hotels import some_ids

HOTELS = 24
"""So many are asked for; with reviews and two languages 96 requests, ten seconds at Cupid's rate."""


def prepare_database(url: str) -> None:
    """Make a database what `sandbox up`, the demo and the tests expect. May be called again at any time.

    The sample rows come with the tables, once: a row that somebody deleted afterwards stays deleted.

    Args:
        url: SQLAlchemy URL of an existing database, as its owner.

    Raises:
        SandboxError: when it cannot be reached.
    """
    application.create(url)
    for branch in ("capture", "ledger"):
        migrations.upgrade(url, branch=branch, schema=sync_schema())
    name_hotels(url)
    install_captures(url)


def name_hotels(url: str) -> None:
    """Make the tables of the sync `hotels`, and once name the hotels of the stand-in that are asked for."""
    schema = normalise_url(url).schema or "public"
    if migrations.current(url, "hotels", schema) is not None:
        return
    migrations.upgrade(url, branch="hotels", schema=schema)
    with application.transaction(url) as cursor:
        values = [(key,) for key in some_ids(HOTELS)]
        cursor.executemany(f"INSERT INTO {qualified(schema, 'property_ids')} (hotel_id) VALUES (%s)", values)


def install_captures(url: str) -> None:
    """Install the triggers of every table of this project that is captured by trigger and stands in this database."""
    from sync_pipelines.registry import tables
    from sync_pipelines.sources.postgres.capture import install

    for table in tables():
        captured = table.component.captures_in_postgres and table.spec.capture not in ("cursor", "outbox")
        if captured and table.spec.table in application.TABLES:
            install(url, table.spec, schema=sync_schema())
