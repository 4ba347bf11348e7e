"""What stands in databases, by Alembic, in branches that may stand in different ones.

`capture` (change log, triggers) stands in each source database, `ledger` (all the rest) in the ledger's, both in the
`sync` schema; `hotels` holds the tables that this sync owns, in the target's own schema. Each
branch is a folder of versions with a version table of its own, so one database may hold either or both.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, get_args

import sqlalchemy as sa
from alembic import command, op
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from sync_pipelines.engine.database import make_engine, place
from sync_pipelines.engine.errors import ConfigurationError, LockBusyError, MigrationDueError, RunError
from sync_pipelines.engine.locks import lock_key
from sync_pipelines.engine.pg_errors import classified

Branch = Literal["capture", "ledger", "hotels"]
BRANCHES: tuple[Branch, ...] = get_args(Branch)

DEFAULT_SCHEMA = "sync"
UPGRADE = "Run `sync-pipelines db upgrade`."
_BY_A_DBA = "Let the owner of the schema run it, or a DBA: `sync-pipelines db upgrade --sql` prints the script."
_TAKEN = {
    "sync": "It is none of sync-pipelines'. Move it, or give these tables a schema of their own by SYNC_SCHEMA.",
    "hotels": "It is none of sync-pipelines'. Give these tables a schema of their own (HOTELS_DATABASE_URL with "
    "?schema=hotels), or name yours in the documents of hotels, without `migrations` (README, hotels).",
}
"""What to do where a relation of a name that we take is there already."""

_HERE = Path(__file__).parent
_POLL_SECONDS = 0.1


def schema_name() -> str:
    """The schema that the running migration works on, unquoted. For use inside a migration."""
    config = op.get_context().config
    assert config is not None
    return config.attributes["schema"]


def execute(statement: str) -> None:
    """Run SQL text as it stands: `:` and `%` mean nothing special. For use inside a migration.

    Write no tab characters: Alembic's offline mode turns them into blanks, and the script would differ.
    """
    op.execute(as_text(statement))


def as_text(statement: str) -> sa.TextClause:
    """SQL text in which a colon does not begin a parameter."""
    return sa.text(statement.replace(":", "\\:"))


def upgrade(
    url: str,
    *,
    branch: Branch,
    schema: str = DEFAULT_SCHEMA,
    revision: str = "head",
    wait_seconds: float = 600.0,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Bring a database's branch to a revision; a second call changes nothing, and one after a crash goes on.

    Args:
        url: the database; its role needs to own the schema, or the right to create it.
        branch: `capture`, `ledger` or `hotels`.
        schema: where the tables stand.
        revision: Alembic's name of a revision; `head` is the newest.
        wait_seconds: how long another upgrade of this schema is waited for.

    Raises:
        LockBusyError: another upgrade did not end in time.
        MigrationDueError: the database is at a revision that this version of the package does not know.
        RunError: the role may not (the remedy is the script for a DBA), or a table of that name is there already.
    """
    config = _config(branch, schema)
    with _advised(branch), _connection(url) as connection, _alone(connection, schema, wait_seconds, sleep):
        refuse_unknown(url, branch, schema, revision_of(connection, branch, schema))
        connection.rollback()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def current(url: str, branch: Branch, schema: str = DEFAULT_SCHEMA) -> str | None:
    """The revision that a database's branch is at; None where it has none of its tables."""
    with _connection(url) as connection:
        return revision_of(connection, branch, schema)


def check(url: str, branch: Branch, schema: str = DEFAULT_SCHEMA) -> None:
    """Insist that a database's branch is at the revision that this version of the package needs.

    Raises:
        MigrationDueError: it is not; the sentence names database, branch, both revisions and the remedy.
    """
    require(current(url, branch, schema), url=url, branch=branch, schema=schema)


def require(found: str | None, *, url: str, branch: Branch, schema: str) -> None:
    """`check` for a caller that has already read which revision there is."""
    (needed,) = heads(branch)
    if found == needed:
        return
    refuse_unknown(url, branch, schema, found)
    state = f"is at revision {found}" if found else "has not been made"
    raise MigrationDueError(
        f"Schema {schema!r} of database {place(url)}: the {branch} branch {state}, and revision {needed} is needed.",
        remedy=UPGRADE,
    )


def script(branch: Branch, schema: str = DEFAULT_SCHEMA, *, start: str | None = None) -> str:
    """The SQL that `upgrade` would run, for a DBA, runnable by psql; what takes long is a transaction of its own.

    Args:
        branch: `capture`, `ledger` or `hotels`.
        schema: where the tables are to stand.
        start: the revision that the database is at; None where it has nothing yet.
    """
    config = _config(branch, schema)
    config.output_buffer = io.StringIO()
    command.upgrade(config, f"{start or 'base'}:head", sql=True)
    return config.output_buffer.getvalue()


def heads(branch: Branch) -> tuple[str, ...]:
    """The newest revision of a branch (one, unless a merge went wrong)."""
    return tuple(_scripts(branch).get_heads())


def revisions(branch: Branch) -> tuple[str, ...]:
    """Every revision of a branch, the oldest first."""
    return tuple(item.revision for item in reversed(list(_scripts(branch).walk_revisions())))


def version_table(branch: Branch) -> str:
    """The name of the table in the sync schema that says which revision a branch is at."""
    return f"alembic_version_{branch}"


def _config(branch: Branch, schema: str) -> Config:
    if branch not in BRANCHES:
        raise ConfigurationError(f"{branch!r} is no branch of migrations; there are {', '.join(BRANCHES)}.")
    config = Config()
    config.set_main_option("script_location", _escaped(_HERE))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", _escaped(_HERE / branch / "versions"))
    config.attributes.update(schema=schema, version_table=version_table(branch), as_text=as_text)
    return config


def _escaped(path: Path) -> str:
    # configparser takes a % in a folder's name for an interpolation.
    return str(path).replace("%", "%%")


def _scripts(branch: Branch) -> ScriptDirectory:
    return ScriptDirectory.from_config(_config(branch, DEFAULT_SCHEMA))


@contextmanager
def _advised(branch: Branch) -> Generator[None]:
    """A role that does not own the schema is pointed to who does (a GRANT does not mend it), and one whose application
    has a table of a name that we take to what it can do with it."""
    try:
        yield
    except RunError as error:
        remedies = {"[42501]": _BY_A_DBA, "[42P07]": _TAKEN["hotels" if branch == "hotels" else "sync"]}
        for state, remedy in remedies.items():
            if state in error.message:
                raise RunError(error.message, remedy=remedy) from error
        raise


@contextmanager
def _connection(url: str) -> Generator[sa.Connection]:
    engine = make_engine(url, pool_max=0, application_name="sync-pipelines migrations")
    with classified(database=place(url)), engine.connect() as connection:
        yield connection


@contextmanager
def _alone(
    connection: sa.Connection, schema: str, wait_seconds: float, sleep: Callable[[float], None]
) -> Generator[None]:
    """Hold this schema's upgrade lock, for the session: a migration may commit in between.

    It is asked for again and again instead of being waited for: a waiting statement holds a snapshot, for
    which CREATE INDEX CONCURRENTLY in the other upgrade would wait in turn.
    """
    key = lock_key(f"migrations:{schema}")
    deadline = time.monotonic() + wait_seconds
    while not connection.execute(sa.select(sa.func.pg_try_advisory_lock(key))).scalar_one():
        connection.rollback()
        if time.monotonic() >= deadline:
            raise LockBusyError(f"Another upgrade of schema {schema!r} did not end in {wait_seconds:.0f} s.")
        sleep(_POLL_SECONDS)
    connection.commit()
    # The lock goes with the connection, which `_connection` closes in any case.
    yield
    connection.commit()


def revision_of(connection: sa.Connection, branch: Branch, schema: str) -> str | None:
    """`current` on a connection of the caller's; reads only."""
    options = {"version_table": version_table(branch), "version_table_schema": schema}
    return MigrationContext.configure(connection, opts=options).get_current_revision()


def refuse_unknown(url: str, branch: Branch, schema: str, found: str | None) -> None:
    """Insist that this version of the package knows the revision that was found.

    Raises:
        MigrationDueError: a newer one has been here.
    """
    if found is not None and found not in revisions(branch):
        raise MigrationDueError(
            f"Schema {schema!r} of database {place(url)}: the {branch} branch is at revision {found}, which "
            "this version of sync-pipelines does not know: a newer one has been here.",
            remedy="Install that newer version of sync-pipelines.",
        )
