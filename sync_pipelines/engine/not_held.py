"""What a target does not hold although it was just written, and what may be the reason."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from sync_pipelines.engine.binding import Binding
from sync_pipelines.engine.compare import Comparison
from sync_pipelines.engine.errors import TransientError
from sync_pipelines.engine.sensitive import mask_of


@runtime_checkable
class Altering(Protocol):
    """A target in which something else may change a record as it is stored."""

    def altered_by(self) -> str | None:
        """What may, and what to do about it, as sentences; None where nothing does."""
        ...


def must_hold(binding: Binding, target: object, differences: Comparison) -> None:
    """Chroma can lose upserts that it has acknowledged (chroma#6975): ask the store, not the writer.

    Raises:
        TransientError: something is missing, or stale.
    """
    missing, stale = differences.count("missing"), differences.count("stale")
    if not missing and not stale:
        return
    keys = mask_of(binding.spec).keys(differences.sample("missing", 5) or differences.sample("stale", 5))
    altered = target.altered_by() if stale and isinstance(target, Altering) else None
    raise TransientError(
        f"the target does not hold what was just written: {missing} missing, {stale} stale (such as {keys}).",
        sync=binding.spec.sync,
        table=binding.spec.name,
        remedy=f"Nothing was confirmed. {altered or 'The next run writes it again.'}",
    )
