"""What stands in the sandbox's application database before anyone uses it."""

from sync_pipelines import migrations
from sync_pipelines.resources.environment import sync_schema
from sync_pipelines.sandbox import application


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
    install_captures(url)


def install_captures(url: str) -> None:
    """Install the triggers of every table of this project that is captured by trigger and stands in this database."""
    from sync_pipelines.registry import tables
    from sync_pipelines.sources.postgres.capture import install

    for table in tables():
        captured = table.component.captures_in_postgres and table.spec.capture not in ("cursor", "outbox")
        if captured and table.spec.table in application.TABLES:
            install(url, table.spec, schema=sync_schema())
