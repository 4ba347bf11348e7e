"""How a table with users is as a whole, from how each of them is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from sync_pipelines.engine.ledger.proofs import NUMBERS
from sync_pipelines.status import TableStatus

T = TypeVar("T")


def of_users(users: Mapping[str, TableStatus]) -> TableStatus:
    """The sum over these users, of whom there is at least one: healthy where each is.

    Counts are added up as far as they are known. `last_success` and `checked_at` are those of the user whose are the
    oldest, None where one never had any; `lag_seconds` is the longest, `next_run` the next of any.
    """
    each = list(users.values())
    sums: dict[str, Any] = {name: _known(sum, (getattr(one, name) for one in each)) for name in NUMBERS}
    return TableStatus(
        configured=True,
        **sums,
        last_success=_of_all(min, [one.last_success for one in each]),
        lag_seconds=_known(max, (one.lag_seconds for one in each)),
        healthy=all(one.healthy for one in each),
        running=any(one.running for one in each),
        next_run=_known(min, (one.next_run for one in each)),
        interval=each[0].interval,
        last_error=next(_told(users, lambda one: filter(None, [one.last_error])), None),
        checked_at=_of_all(min, [one.checked_at for one in each]),
        full_sync_due="; ".join(_told(users, lambda one: filter(None, [one.full_sync_due]))) or None,
        problems=tuple(_told(users, lambda one: one.problems)),
        warnings=tuple(_told(users, lambda one: one.warnings)),
        users=dict(users),
    )


def _known(of: Callable[[Any], T], values: Iterable[Any]) -> T | None:
    """The sum (or the like) of what is known; None where nothing is."""
    known = [value for value in values if value is not None]
    return of(known) if known else None


def _of_all(of: Callable[[Any], T], values: list[T | None]) -> T | None:
    """None where it is not known of one of them."""
    return None if None in values else of(values)


def _told(users: Mapping[str, TableStatus], of: Callable[[TableStatus], Iterable[str]]) -> Iterator[str]:
    """Sentences that say of whom they are; an error names the table, user included, by itself."""
    for user, one in users.items():
        yield from (sentence if f":{user}" in sentence else f"{user}: {sentence}" for sentence in of(one))
