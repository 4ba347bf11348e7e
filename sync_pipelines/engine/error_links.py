"""What stands behind an error: a client wraps what its transport has raised."""

from __future__ import annotations

from collections.abc import Iterator


def links_of(error: BaseException) -> Iterator[BaseException]:
    """The error, then what it was raised from or while handling, each once."""
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        yield link
        seen.add(id(link))
        link = link.__cause__ or link.__context__
