"""Small things that the tests of the client share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from sync_pipelines.sources.rest.client import Answer, Call, RestClient, path_of


def calls(ids: Iterable[int | str]) -> Iterator[Call]:
    """The calls of these properties."""
    return (Call(key=str(number), path=path_of("property/{id}", id=number)) for number in ids)


def fetched(client: RestClient, ids: Iterable[int | str]) -> dict[str, Answer]:
    """The answers of these properties, by key; each comes once."""
    found: dict[str, Answer] = {}
    for answer in client.fetch(calls(ids)):
        assert answer.key not in found
        found[answer.key] = answer
    return found


def until_the_end(
    client: RestClient, ids: Iterable[int | str], *, at: tuple[int, Callable[[], None]] | None = None
) -> tuple[dict[str, Answer], Exception | None]:
    """The answers, and the error with which they end.

    Args:
        at: after so many answers, something that happens.
    """
    found: dict[str, Answer] = {}
    try:
        for answer in client.fetch(calls(ids)):
            found[answer.key] = answer
            if at is not None and len(found) == at[0]:
                at[1]()
    except Exception as error:
        return found, error
    return found, None
