"""A table's files in order: small ones put together, those that no version needs any more removed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sync_pipelines.targets.delta.features import foreign_features
from sync_pipelines.targets.delta.store import DeltaStore
from sync_pipelines.targets.lake.retention import check_retention
from sync_pipelines.targets.lake.table import before_and_after, refuse_foreign

if TYPE_CHECKING:
    from deltalake import DeltaTable


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
    refuse_foreign(foreign_features(store.there()), engine="delta-rs", sync=None, table=store.name)
    before = sizes(store)

    def write(table: DeltaTable) -> None:
        _announce(table)
        if z_order:
            table.optimize.z_order(list(z_order), target_size=file_bytes)
        else:
            table.optimize.compact(target_size=file_bytes)

    store.contend("optimize table", write)
    after = sizes(store)
    return before_and_after(before, after)


def _announce(table: DeltaTable) -> None:
    """Commit a table's metadata as they are, from which the OPTIMIZE that follows starts.

    For delta-rs (1.6.6) an OPTIMIZE is no conflict with another, whatever number of retries it is given: each puts all
    rows into files of its own, and both stay, doubled. Changed metadata are a conflict: of two at once, the one that
    was announced first is planned anew.
    """
    for item in table.schema().fields:
        told = {name: text for name, text in item.metadata.items() if isinstance(text, str)}
        if told == item.metadata:
            table.alter.set_column_metadata(item.name, told)
            return


def vacuum(store: DeltaStore, *, hours: int, allow_short: bool = False, dry_run: bool = False) -> list[str]:
    """Remove the files that no version of the last `hours` needs; their names.

    Raises:
        ConfigurationError: fewer than 168 hours without the explicit word: somebody may be reading them.
    """
    check_retention(hours, allow_short=allow_short)
    refuse_foreign(foreign_features(store.there()), engine="delta-rs", sync=None, table=store.name)
    return store.contend(
        "vacuum table",
        # never full=True: it has deleted live deletion vectors (facts/jvm-engines.md)
        lambda table: table.vacuum(retention_hours=hours, dry_run=dry_run, enforce_retention_duration=not allow_short),
    )
