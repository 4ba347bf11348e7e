"""No mass deletion by accident (DESIGN.md §2.5)."""

from __future__ import annotations

from dataclasses import dataclass

from sync_pipelines.engine.errors import ConfigurationError, MassDeleteError

ALL_GONE = 5
"""The first so many records that are asked for are all gone: it is the address, not these records."""


@dataclass(frozen=True, kw_only=True)
class Guard:
    """How much one run may delete.

    Args:
        share: part of the target's records, 0 to 1; more than this …
        records: … and more than so many records stops the deletion.
        allow: the run's config allows it, once.
    """

    share: float = 0.1
    records: int = 100
    allow: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1 or self.records < 0:
            raise ConfigurationError(
                f"mass_delete: share {self.share} must lie in 0..1 and records {self.records} must not be negative."
            )

    def refuses(self, *, deletes: int, held: int, source_empty: bool, left: int | None = None) -> bool:
        """Whether deleting `deletes` of the `held` records must stop first; for `left` see `check`."""
        if self.allow or deletes == 0:
            return False
        if source_empty or left == 0:
            return True
        return deletes > self.records and deletes > self.share * held

    def check(
        self,
        *,
        deletes: int,
        held: int,
        source_empty: bool,
        left: int | None = None,
        written: bool = True,
        gone: int = 0,
        command: str = "",
        now: int | None = None,
        confirmed: int | None = None,
        sync: str,
        table: str,
    ) -> None:
        """Stop before anything is deleted.

        Args:
            deletes: records that would go; of these `gone` went before, one batch after the other.
            held: records in the target before what comes with the deletion was written (`measure.held_before`).
            source_empty: the source holds no record at all.
            left: records that the target would hold afterwards, where that is known.
            written: whether the run has written what it brings.
            now: records in the target at this moment, where that is not `held`; confirmed: after the last
                confirmed run, where that is known.
            command: what started such a run, as `sync shop/article --full`.

        Raises:
            MassDeleteError: with the numbers, the likely causes, and how to allow it once.
        """
        if not self.refuses(deletes=deletes, held=held, source_empty=source_empty, left=left):
            return
        why = f"that is over {self.share:.0%} of {held} and over {self.records} records"
        if source_empty or left == 0:
            why = "the source is empty" if source_empty else "nothing would be left"
        now = held if now is None else now
        what = f"{deletes} of the target's {now} records would be deleted{_others(now, held, confirmed)}"
        if gone:
            what = f"{deletes} records would be deleted, of {gone + now} in all{_others(now, held, confirmed)}"
        done = _done(gone, written=written)
        raise MassDeleteError(
            f"{what}: {why}. {done}",
            sync=sync,
            table=table,
            remedy="Look for an emptied or swapped table, a wrong connection, a vanished tenant, a filter, or "
            "records in quarantine. "
            f"If it is right, allow it once: sync-pipelines {command or f'sync {sync}/{table}'} --allow-mass-delete "
            "(in the launchpad: allow_mass_delete: true).",
        )

    def check_marks(self, *, gone: int, found: int, held: int, command: str, sync: str, table: str) -> None:
        """Stop before records are marked as gone because a source that is asked for each says that it has none.

        A wrong address answers 404 to everything, and a list that is empty names nothing.

        Args:
            gone: records that were there, and would be marked by now. found: those that this run was given by now.
            held: records in the target when the run began. command: as in `check`.

        Raises:
            MassDeleteError: with the numbers, the likely causes, and how to allow it once.
        """
        none_found = not found and held > 1 and gone >= min(ALL_GONE, held)
        too_many = gone > self.records and gone > self.share * held
        if self.allow or not (none_found or too_many):
            return
        why = "and none was found" if none_found else f"that is over {self.share:.0%} and over {self.records} records"
        raise MassDeleteError(
            f"the source says of {gone} of the {held} records that it has them no more, {why}. They were not marked.",
            sync=sync,
            table=table,
            remedy="Look for a wrong address, another account's key, or a list that is empty. "
            f"If it is right, allow it once: sync-pipelines {command} --allow-mass-delete "
            "(in the launchpad: allow_mass_delete: true).",
        )


def _done(gone: int, *, written: bool) -> str:
    """What became of the records so far."""
    if gone:
        return f"{gone} of them were deleted before; the others were not, and what was to be written has been written."
    return "Nothing was deleted; what was to be written has been written." if written else "Nothing was changed."


def _others(now: int, held: int, confirmed: int | None) -> str:
    """What the target held earlier, where that was another number."""
    told = [f"{confirmed} after the last confirmed sync"] if confirmed not in (None, now) else []
    told += [f"{held} before what came with the deletion was written"] if held not in (now, confirmed) else []
    return f" ({', '.join(told)})" if told else ""
