"""The tables of this project for code outside Dagster: the CLI, the client and scripts."""

from __future__ import annotations

import difflib
import gc
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

from sync_pipelines.engine.errors import ConfigurationError, NotConfiguredError

if TYPE_CHECKING:
    from dagster import Definitions

    from sync_pipelines.components.base import SyncComponent
    from sync_pipelines.engine.ledger.ledger import Ledger
    from sync_pipelines.engine.proof import Proof
    from sync_pipelines.engine.run import Binding
    from sync_pipelines.engine.spec import TableSpec
    from sync_pipelines.sources.postgres.source import PostgresSource


def resources() -> SimpleNamespace:
    """The resources with the settings of the environment; nothing connects yet.

    Where a run waits out a restart of the ledger's database, somebody at a terminal is told at once.
    """
    from sync_pipelines.definitions import default_resources
    from sync_pipelines.resources.postgres import LedgerResource

    return SimpleNamespace(**{**default_resources(), "ledger": LedgerResource(patient=False)})


def project() -> tuple[Definitions, tuple[SyncComponent, ...]]:
    """The project's definitions and its tables, as `definitions.load` gives them.

    Raises:
        ConfigurationError: a document below defs/ is wrong.
    """
    with _documents(), _nothing_collected():
        from sync_pipelines.definitions import load

        return load()


@contextmanager
def _nothing_collected() -> Generator[None]:
    """What is loaded stays: to look among it for garbage takes each command an eighth longer to start."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@contextmanager
def _documents() -> Generator[None]:
    """Loading the documents below defs/: what is wrong there becomes a sentence that names field, file and line."""
    from dagster import DagsterInvalidDefinitionError
    from dagster.components.core.component_tree import ComponentTreeException
    from dagster_shared.check import CheckError
    from dagster_shared.error import DagsterUnresolvableSymbolError
    from yaml import YAMLError

    from sync_pipelines.documents import problems, why

    # of an envelope Dagster raises what its libraries do, unwrapped
    envelope = (CheckError, DagsterUnresolvableSymbolError, ValueError)  # pydantic's, and of a type without a dot
    try:
        yield
    except (ComponentTreeException, DagsterInvalidDefinitionError, YAMLError, *envelope) as error:
        raise ConfigurationError(
            f"A document below defs/ is wrong, so nothing can be loaded: {'; '.join(problems()) or why(error)}.",
            remedy="Correct it; `dg check defs` shows more.",
        ) from None


@dataclass(frozen=True)
class BoundTable:
    """A table of a sync and the settings of this environment."""

    component: SyncComponent
    resources: Any

    @property
    def spec(self) -> TableSpec:
        return self.component.spec

    @property
    def path(self) -> str:
        """`sync/table`."""
        return self.component.path

    @property
    def sync_schema(self) -> str:
        return self.resources.ledger.sync_schema()

    def not_configured(self) -> str | None:
        """Why the sync is not in use here, or None."""
        return self.component.not_configured(self.resources)

    def source(self) -> PostgresSource:
        return self.component.build_source(self.resources)

    def binding(self) -> Binding:
        return self.component.bind(self.resources)

    def prove(self, kind: Literal["count", "quick", "deep"] = "quick", *, run_id: str | None = None) -> Proof:
        """Prove the table now and write it down in the ledger; see `engine.proof.prove_and_record`."""
        from sync_pipelines.engine.proof import prove_and_record

        with closing(self.binding()) as binding:
            binding.ledger.check()
            return prove_and_record(binding, kind, run_id=run_id)


def tables(selector: str | None = None, *, user: str | None = None) -> list[BoundTable]:
    """The enabled tables that `SYNC`, `SYNC/TABLE` or `SYNC/TABLE:USER` names; all of them without a selector.

    Of a table with users there is a part for each of them. It is there itself where it has none, or where the ledger
    cannot be asked who they are: whoever binds it is told why.

    Args:
        user: only the part of this user, of tables with users.

    Raises:
        ConfigurationError: nothing has that name; the nearest right one is offered.
    """
    found = whole_tables(selector)
    parts = [part for table in found for part in _parts(table)]
    if user is not None:
        return _of_user(selector, user, found, parts)
    named = [table for table in parts if table.path == selector]
    if named or selector is None or ":" not in selector:
        return named or parts
    raise _no_user(selector.rpartition(":")[2], found, parts)


def whole_tables(selector: str | None = None) -> list[BoundTable]:
    """As `tables`, each table whole, whoever its users are: no ledger is asked."""
    if selector is not None:
        require_name(selector)
    given = resources()
    found = [BoundTable(component, given) for component in project()[1] if component.enabled]
    chosen = [table for table in found if _is_named(table, selector)]
    if chosen or selector is None:
        return chosen
    known = sorted({table.component.sync for table in found} | {table.path for table in found})
    sync, of_one, _ = selector.partition("/")
    known = [path for path in known if of_one and path.startswith(f"{sync}/")] or known
    near = difflib.get_close_matches(selector, known, n=1)
    hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(known) or 'none'}."
    raise ConfigurationError(f"There is no sync or table {selector!r}.", remedy=hint)


def require_name(selector: object) -> None:
    """Refuse what is no name of a sync or table: compared with one, it is merely another.

    Raises:
        ConfigurationError: it is no text.
    """
    if not isinstance(selector, str):
        raise ConfigurationError(
            f"{selector!r} is no name of a sync or table.",
            remedy='Give a text, such as "learning" or "learning/concept".',
        )


def _is_named(table: BoundTable, selector: str | None) -> bool:
    if selector in (None, table.component.sync, table.path):
        return True
    return table.component.by_user and str(selector).startswith(f"{table.path}:")


def _parts(table: BoundTable) -> list[BoundTable]:
    from sync_pipelines.user_partitions import known_parts

    return [BoundTable(part, table.resources) for part in known_parts(table.component, table.resources)]


def _of_user(
    selector: str | None, user: str, found: Sequence[BoundTable], parts: Sequence[BoundTable]
) -> list[BoundTable]:
    if not any(table.component.by_user for table in found):
        raise ConfigurationError(
            f"{selector or 'This project'} has no users.", remedy="Leave the user out: it belongs to syncs of notes."
        )
    chosen = [table for table in parts if table.component.user == user]
    if not chosen:
        raise _no_user(user, found, parts)
    return chosen


def _no_user(user: str, found: Sequence[BoundTable], parts: Sequence[BoundTable]) -> ConfigurationError:
    """What to raise for somebody who is no user; it says so of a ledger that cannot be asked, too."""
    whole = next(table for table in found if table.component.by_user)
    if reason := whole.not_configured():
        return NotConfiguredError(f"{whole.path}: {reason}.")
    if whole.component in [table.component for table in parts]:
        whole.binding()  # the ledger does not answer, which this raises
    names = sorted({str(table.component.user) for table in parts if table.component.user})
    near = difflib.get_close_matches(user, names, n=1)
    hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(names)}."
    return ConfigurationError(f"{whole.component.sync} has no user {user!r}.", remedy=hint)


def outboxes() -> dict[str, list[BoundTable]]:
    """The tables that follow events, by the URL of the database whose outbox these stand in."""
    found: dict[str, list[BoundTable]] = {}
    for bound in whole_tables():
        if bound.spec.capture == "outbox":
            found.setdefault(bound.source().url.sqlalchemy, []).append(bound)
    return found


def ledger() -> Ledger:
    """The ledger of this environment."""
    return resources().ledger.ledger()


Branch = Literal["capture", "ledger", "hotels"]


@dataclass(frozen=True, kw_only=True)
class Database:
    """A database that holds a part of the sync schema, or tables that a sync owns.

    Args:
        schemas: of branches that stand in a schema of their own.
    """

    name: str
    url: str
    branches: Sequence[Branch]
    schemas: Mapping[Branch, str] = field(default_factory=dict)

    def schema_of(self, branch: Branch, sync_schema: str) -> str:
        """Where a branch stands here."""
        return self.schemas.get(branch, sync_schema)


def databases() -> list[Database]:
    """Every database of this environment, each once: the ledger's, each source that is captured by trigger, and each
    that holds tables which a sync in use owns."""
    given = resources()
    found: dict[str, list[Branch]] = {given.ledger.database_url(): ["ledger"]}
    names = {given.ledger.database_url(): "ledger"}
    schemas: dict[str, dict[Branch, str]] = {}
    for table in whole_tables():
        for connection, branch, schema in _needed(table):
            url = given.postgres.connection_url(connection)
            branches = found.setdefault(url, [])
            names.setdefault(url, connection)
            if schema is not None:
                schemas.setdefault(url, {})[branch] = schema
            if branch not in branches:
                branches.insert(0 if branch == "capture" else len(branches), branch)
    return [
        Database(name=names[url], url=url, branches=tuple(branches), schemas=schemas.get(url, {}))
        for url, branches in found.items()
    ]


def _needed(table: BoundTable) -> Iterator[tuple[str, Branch, str | None]]:
    """Connection, branch and, where it is not the sync schema, schema of what a table needs beside the ledger."""
    component = table.component
    if (owned := component.owned(table.resources)) is not None:
        yield owned.connection, owned.branch, owned.schema
    if component.captures_in_postgres and table.spec.capture != "cursor":
        yield component.source.connection, "capture", None
