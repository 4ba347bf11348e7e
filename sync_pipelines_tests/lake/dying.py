"""Run as a process of its own: overwrites the shop's items, and is killed before the commit.

Arguments: the database, the engine, and when: `gathered` (the new rows are put aside), or `writing` (the rows' files
are being written, or the statement was sent).
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

from sync_pipelines_tests.lake.house import House, document


def die(*_: Any, **__: Any) -> None:
    """As by `kill -9`."""
    os.kill(os.getpid(), signal.SIGKILL)


def main(url: str, engine: str, moment: str) -> None:
    """Bend the one place, and run."""
    from sync_pipelines.targets.databricks.overwriting import DatabricksOverwrite, WarehouseReplacement
    from sync_pipelines.targets.delta.overwriting import DeltaOverwrite, DeltaReplacement

    if moment == "gathered":
        DeltaReplacement.commit = WarehouseReplacement.commit = die  # type: ignore[method-assign,assignment]
    elif engine == "databricks":
        DatabricksOverwrite.overwrite = die  # type: ignore[method-assign]
    else:
        _die_writing(DeltaOverwrite)
    House(url).sync(document(target={"table": "shop/item", "mode": "overwrite"}))


def _die_writing(kind: Any) -> None:
    overwrite = kind.overwrite

    def dying(self: Any, table: Any, batches: Any, schema: Any) -> None:
        def all_but_the_end() -> Iterator[Any]:
            yield from batches
            die()

        overwrite(self, table, all_but_the_end(), schema)

    kind.overwrite = dying


if __name__ == "__main__":
    main(*sys.argv[1:])
