"""Named places of a run at which a test stops it: by SIGKILL, or by whatever else `reach` does.

| name | when |
|---|---|
| `reading` | the source is about to be asked for its changes |
| `opened` | the changes are read, nothing is written |
| `embedded`, `extras` | of a group of records the vectors are made; their chunks 1… are written |
| `heads`, `orphans` | of a group of records chunk 0 is written; chunks that are left over are gone |
| `before delete`, `after delete` | around each request that deletes items |
| `before rename`, `after rename` | around each rename (and mark) of a rebuild's swap |
| `before confirm` | all is written; the target and the lock are asked once more |
| `closing`, `confirmed` | around the transaction that closes the books and moves the watermark |
| `noted` | the source's own note of how far the reader has come is written |
| `comparing` | a proof reads values back from the target |
| `searching` | a deep proof is about to search for its sample |
| `mending` | a repair has found what differs, and reads records anew to write them |
| `proving` | a proof is about to be written down |
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from typing import Any

Reach = Callable[[str], None]


def kill_at(name: str, number: int) -> Reach:
    """Ends this process with SIGKILL when the boundary is reached for the so-many-th time."""

    def kill() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    return at(name, number, kill)


def at(name: str, number: int, action: Callable[[], None]) -> Reach:
    """Does something, once, when the boundary is reached for the so-many-th time."""
    seen = 0

    def reach(boundary: str) -> None:
        nonlocal seen
        seen += boundary == name
        if boundary == name and seen == number:
            action()

    return reach


def around(before: str | None, after: str | None, reach: Reach) -> Callable[[Any], Any]:
    """A decorator that names the moments before and after a method."""

    def decorated(method: Any) -> Any:
        def wrapper(*args: Any, **options: Any) -> Any:
            if before:
                reach(before)
            result = method(*args, **options)
            if after:
                reach(after)
            return result

        return wrapper

    return decorated


def name_places(
    places: Iterable[tuple[Any, str, str | None, str | None]], reach: Reach, put: Callable[[Any, str, Any], None]
) -> None:
    """Name the moments before and after methods: owner, method and the two names; `put` is setattr, or its like."""
    for owner, method, before, after in places:
        put(owner, method, around(before, after, reach)(getattr(owner, method)))


def bend(reach: Reach, put: Callable[[Any, str, Any], None] = setattr) -> None:
    """Call `reach` at every boundary of this process's runs; `put` is setattr, or a monkeypatch's."""
    from sync_pipelines.engine import repair
    from sync_pipelines.engine.ledger.ledger import Ledger
    from sync_pipelines.engine.run import Run
    from sync_pipelines.sources.postgres.source import PostgresSource
    from sync_pipelines.targets.chroma.store import ChromaStore
    from sync_pipelines.targets.chroma.target import ChromaTarget

    made = ChromaTarget.__init__

    def init(self: ChromaTarget, **given: Any) -> None:
        made(self, **{**given, "boundary": reach})

    put(ChromaTarget, "__init__", init)
    put(Run, "write", around("opened", None, reach)(Run.write))
    put(Run, "_confirm", around("before confirm", None, reach)(Run._confirm))
    put(Ledger, "finish", around("closing", "confirmed", reach)(Ledger.finish))
    put(Ledger, "record_proof", around("proving", None, reach)(Ledger.record_proof))
    put(PostgresSource, "changes", around("reading", None, reach)(PostgresSource.changes))
    put(ChromaTarget, "values", around("comparing", None, reach)(ChromaTarget.values))
    put(ChromaTarget, "unsearchable", around("searching", None, reach)(ChromaTarget.unsearchable))
    put(repair, "_write", around("mending", None, reach)(repair._write))
    put(PostgresSource, "confirmed", around(None, "noted", reach)(PostgresSource.confirmed))
    put(ChromaStore, "modify", around("before rename", "after rename", reach)(ChromaStore.modify))
    put(ChromaStore, "delete", _deleting(ChromaStore.delete, reach))


def _deleting(delete: Any, reach: Reach) -> Any:
    """Deleting nothing is no boundary."""
    named = around("before delete", "after delete", reach)(delete)

    def wrapper(self: Any, ids: Any) -> None:
        (named if ids else delete)(self, ids)

    return wrapper
