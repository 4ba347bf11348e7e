"""What stands in the sandbox's application database before anyone uses it."""

from sync_pipelines.sandbox import application


def prepare_database(url: str) -> None:
    """Make a database what `sandbox up`, the demo and the tests expect. May be called again at any time.

    The sample rows come with the tables, once: a row that somebody deleted afterwards stays deleted.

    Args:
        url: SQLAlchemy URL of an existing database, as its owner.

    Raises:
        SandboxError: when it cannot be reached.
    """
    with application.transaction(url) as cursor:
        if not application.has_tables(cursor):
            application.create_tables(cursor)
            application.load_samples(cursor)
