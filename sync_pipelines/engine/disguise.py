"""Errors of others whose words may not be shown: the same error to look at, with other words.

Dagster stores `str()` of an unexpected error and of every error below it, and Python prints them. What a third
party's client says is not ours: it may quote a key, a password, or a value of a record. The traceback's lines of
code stay, since they are what a developer needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sync_pipelines.engine.errors import SyncError

Hide = Callable[[str], str]
"""A text as it may be shown."""


class Disguised(Exception):
    """In the place of an error whose words were hidden; a subclass bears that one's name."""


def disguised(error: BaseException, hide: Hide) -> BaseException:
    """The error itself, where nothing is hidden in it; else one that looks like it.

    One of ours stays the object that it is, with other words: its class decides what happens next.

    Args:
        hide: what may be shown of a text.
    """
    if not any(hide(words) != words for link in _links(error) for words in _said(link)):
        return error
    return _in_disguise(error, hide, {})


def _links(error: BaseException) -> Iterator[BaseException]:
    """The error and every one that would be printed with it."""
    seen: set[int] = set()
    waiting: list[BaseException] = [error]
    while waiting:
        link = waiting.pop()
        if id(link) not in seen:
            seen.add(id(link))
            yield link
            waiting += _below(link)


def _below(link: BaseException) -> list[BaseException]:
    inner = link.exceptions if isinstance(link, BaseExceptionGroup) else ()
    found = (link.__cause__, link.__context__, getattr(link, "user_exception", None), *inner)
    return [item for item in found if isinstance(item, BaseException)]


def _said(link: BaseException) -> Iterator[str]:
    yield _words(link)
    yield from getattr(link, "__notes__", ())


def _words(link: BaseException) -> str:
    try:
        return str(link)
    except Exception:  # an error of somebody's own whose text cannot be made
        return ""


def _in_disguise(error: BaseException, hide: Hide, made: dict[int, BaseException]) -> BaseException:
    if id(error) in made:
        return made[id(error)]
    twin = made[id(error)] = _hushed(error, hide) if isinstance(error, SyncError) else _twin(error, hide)
    cause, context, silent = error.__cause__, error.__context__, error.__suppress_context__
    twin.__cause__ = None if cause is None else _in_disguise(cause, hide, made)
    twin.__context__ = None if context is None else _in_disguise(context, hide, made)
    twin.__suppress_context__ = silent
    return twin


def _hushed(error: SyncError, hide: Hide) -> SyncError:
    error.message = hide(error.message)
    error.args = (hide(str(error)),)
    return error


def _twin(error: BaseException, hide: Hide) -> BaseException:
    kind = type(error)
    names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    words = [hide(words) for words in _said(error)]
    if isinstance(error, BaseExceptionGroup):  # what is in it, which would be printed too
        words += [hide(f"{type(inner).__name__}: {_words(inner)}") for inner in error.exceptions]
    return type(kind.__name__, (Disguised,), names)("\n".join(words)).with_traceback(error.__traceback__)
