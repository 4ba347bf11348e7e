"""A table's files in order: small ones put together, those that no version needs any more removed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.targets.delta.features import check_features
from sync_pipelines.targets.delta.store import DeltaStore

if TYPE_CHECKING:
    from deltalake import DeltaTable

SHORTEST_HOURS = 168
"""Delta's own limit: a reader may be a week behind, and so may the change feed's."""


def sizes(store: DeltaStore) -> tuple[int, int]:
    """The files of the newest version and their bytes."""
    table = store.there()
    found = pa.table(table.get_add_actions(flatten=True)).column("size_bytes").to_pylist()
    return len(found), sum(found)


def optimize(store: DeltaStore, *, file_bytes: int, z_order: Sequence[str] = ()) -> dict[str, Any]:
    """Put small files together, or with `z_order` write all anew in that order; no row changes.

    Args:
        file_bytes: the size of a file that is aimed at.

    Returns:
        Files and bytes of the newest version, before and after.
    """
    check_features(store.there(), sync=None, name=store.name)
    before = sizes(store)

    def write(table: DeltaTable) -> None:
        if z_order:
            table.optimize.z_order(list(z_order), target_size=file_bytes)
        else:
            table.optimize.compact(target_size=file_bytes)

    store.contend("optimize table", write)
    after = sizes(store)
    return {
        "files_before": before[0],
        "files_after": after[0],
        "bytes_before": before[1],
        "bytes_after": after[1],
    }


def vacuum(store: DeltaStore, *, hours: int, allow_short: bool = False, dry_run: bool = False) -> list[str]:
    """Remove the files that no version of the last `hours` needs; their names.

    Raises:
        ConfigurationError: fewer than 168 hours without the explicit word: somebody may be reading them.
    """
    if hours < SHORTEST_HOURS and not allow_short:
        raise ConfigurationError(
            f"VACUUM with a retention of {hours} h would take files away from readers and the change feed.",
            remedy=f"Keep at least {SHORTEST_HOURS} h, or say allow_short_retention.",
        )
    check_features(store.there(), sync=None, name=store.name)
    return store.contend(
        "vacuum table",
        # never full=True: it has deleted live deletion vectors (facts/jvm-engines.md)
        lambda table: table.vacuum(
            retention_hours=hours, dry_run=dry_run, enforce_retention_duration=hours >= SHORTEST_HOURS
        ),
    )
