"""One thread beside the caller's, for what may be done while a server is waited for."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Aside:
    """Does what it is given, one after the other; a context manager that waits at its end for what was begun.

    Args:
        name: of the thread, which is made when it is first needed.
    """

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._context = copy_context()  # the log's lines go on naming sync, table and run

    def start(self, work: Callable[P, T], *given: P.args, **named: P.kwargs) -> Future[T]:
        """Let it do this, too; what it raises comes out where the result is asked for."""
        return self._pool.submit(lambda: self._context.run(work, *given, **named))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # an interrupt waits for what is being done, but for nothing that has not been begun
        interrupted = error is not None and not isinstance(error, Exception)
        self._pool.shutdown(wait=True, cancel_futures=interrupted)
