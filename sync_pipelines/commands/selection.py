"""Which tables and keys a command works on, and handing its runs over with `--no-wait`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sync_pipelines.commands import output
from sync_pipelines.engine.errors import ConfigurationError, NotConfiguredError, RunError, UnknownRecordError

if TYPE_CHECKING:
    from sync_pipelines.client import RunStatus
    from sync_pipelines.registry import BoundTable


Keys = Annotated[
    str | None,
    typer.Option(
        "--keys",
        metavar="A,B,…",
        help="Just these records of one table; or a JSON array of keys, of which a composite one is an array of texts.",
    ),
]
Key = Annotated[
    list[str] | None,
    typer.Option("--key", help="One such record; may be repeated. A composite key as a JSON array of texts."),
]


User = Annotated[
    str | None,
    typer.Option("--user", metavar="NAME", help="Of a sync with users this one's part, as SYNC/TABLE:NAME."),
]


def keys_of(
    selectors: Sequence[str], joined: str | None, single: list[str] | None, *, user: str | None = None
) -> list[str] | None:
    """`--keys` and every `--key`, each once; None where neither is given.

    Raises:
        ConfigurationError: a selector names nothing, or they name several tables.
    """
    if joined is None and not single:
        return None
    from sync_pipelines.client import one_table_for_keys
    from sync_pipelines.engine import keys
    from sync_pipelines.registry import tables

    found = {bound.path: bound for selector in selectors for bound in tables(selector, user=user)}
    one_table_for_keys(" ".join(selectors), list(found.values()), [])
    if joined is not None and not keys.split(joined, 1):
        raise output.wrong_usage("--keys names no record.")
    (only,) = found.values()
    given = (keys.split(joined, len(only.spec.key)) if joined else []) + list(single or ())
    return list(dict.fromkeys(given))


def forms(selector: str | None, key: str) -> list[str]:
    """The key as the selector's tables would spell it, as far as its form tells."""
    from sync_pipelines.engine.naming import normal_key
    from sync_pipelines.registry import tables

    found = []
    for bound in tables(selector):
        with suppress(ConfigurationError):
            found.append(normal_key(bound.spec, key))
    return list(dict.fromkeys(found))


def held(selector: str | None, key: str) -> list[tuple[BoundTable, str]]:
    """The tables whose source, target or quarantine has this record, and its key there.

    Raises:
        ConfigurationError: it can be a key of none of the tables.
        UnknownRecordError: it could be, and is in none of them.
    """
    from sync_pipelines.engine.naming import known_keys
    from sync_pipelines.registry import tables

    found: list[tuple[BoundTable, str]] = []
    errors: list[RunError] = []
    for bound in tables(selector):
        if bound.not_configured():
            continue
        try:
            with closing(bound.binding()) as binding:
                found += [(bound, stored) for stored in known_keys(binding, [key])]
        except (ConfigurationError, UnknownRecordError) as error:
            errors.append(error)
    if errors and not found:
        # that it could be a key of one table says more than that it could not of another
        unknown = [error for error in errors if isinstance(error, UnknownRecordError)]
        raise (unknown or errors)[0] if len(unknown) < 2 else UnknownRecordError(_in_none(key, unknown))
    return found


def _in_none(key: str, errors: Sequence[RunError]) -> str:
    places = " and ".join(f"{error.sync}/{error.table}" for error in errors)
    return f"{places}: no such record in source or target (key {key!r})."


def configured(*selectors: str, user: str | None = None) -> list[BoundTable]:
    """The tables to work on, each once; those that are not configured are named on standard error and left out.

    Args:
        user: see `registry.tables`.

    Raises:
        NotConfiguredError: none of them is.
    """
    from sync_pipelines.registry import tables

    named = {bound.path: bound for selector in selectors for bound in tables(selector, user=user)}
    found = [(bound, bound.not_configured()) for bound in named.values()]
    chosen = [bound for bound, reason in found if not reason]
    if not chosen:
        raise NotConfiguredError(f"{' '.join(selectors)}: {found[0][1]}.")
    for bound, reason in found:
        if reason:
            output.say(f"{bound.path}: {reason}")
    return chosen


def hand_over(
    selectors: Sequence[str], options: dict[str, Any], what: Literal["trigger", "repair"], *, as_json: bool
) -> None:
    """Start runs and say which, without waiting for them."""
    from sync_pipelines import client

    answers = [getattr(client, what)(selector, **options) for selector in dict.fromkeys(selectors)]
    started = [run_id for answer in answers for run_id in ([answer] if isinstance(answer, str) else answer)]
    runs = [client.status(run_id) for run_id in started]
    if as_json:
        output.print_json({"runs": [run.as_dict() for run in runs]})
        return
    for run in runs:
        typer.echo(f"{path_of(run)}: run {run.run_id} {run.state}")


def path_of(run: RunStatus) -> str:
    """`sync/table` of a run."""
    return "/".join(part for part in (run.sync, run.table) if part)
