"""Notes brought to their pages, one by one: what is equal costs nothing, what was edited is judged before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import pyarrow as pa

from sync_pipelines.engine.deciding import Dispute, Outcome
from sync_pipelines.engine.errors import RecordError
from sync_pipelines.engine.merging import same_state
from sync_pipelines.engine.model import KEY, BatchResult, Counts, Doubt, PlannedWrites, Rejection
from sync_pipelines.targets.notion import there
from sync_pipelines.targets.notion.errors import GoneError, RefusedError, StartRefusedError
from sync_pipelines.targets.notion.judged import Judged, Known, own, paged, rows_of, standing_for
from sync_pipelines.targets.notion.judgement import Case, Row, is_told, judge, merged_plan, whole_plan
from sync_pipelines.targets.notion.listing import Head
from sync_pipelines.targets.notion.looking import Seen, read_page
from sync_pipelines.targets.notion.properties import state_of
from sync_pipelines.targets.notion.records import Record
from sync_pipelines.targets.notion.writing import FRESH, PageWriter


class Bringing(Judged):
    """What `target.NotionTarget` does with notes.

    Args:
        written: pages that were made or changed since the target was made.
    """

    written: int = 0

    def upsert(
        self,
        batches: Iterable[pa.RecordBatch],
        *,
        doubt: Doubt | None = None,
        before_write: Callable[[], object] = lambda: None,
    ) -> Iterator[BatchResult]:
        """Bring pages to what their notes say, one by one; what is unchanged is told together."""
        for batch in batches:
            rows: dict[str, Row] = {}
            bad = []
            for given in batch.to_pylist():
                try:
                    rows.update(rows_of(pa.RecordBatch.from_pylist([given], schema=batch.schema)))
                except RecordError as error:
                    bad.append(_rejection(given[KEY], error))
            if bad:
                yield BatchResult(counts=Counts(quarantined=len(bad)), rejected=bad, keys=[item.key for item in bad])
            for keys in paged(list(rows)):
                yield from self._bring({key: rows[key] for key in keys}, doubt, before_write)

    def _bring(
        self, rows: Mapping[str, Row], doubt: Doubt | None, before_write: Callable[[], object]
    ) -> Iterator[BatchResult]:
        known = self.known(list(rows))
        pages, at = self.every_head(list(rows)), self.notion.now
        heads = own(pages, known.records)
        equal = {key for key, row in rows.items() if not doubt and self._is_equal(row, heads.get(key), known)}
        if equal:
            yield BatchResult(counts=Counts(unchanged=len(equal)), keys=sorted(equal))
        writer = self._writer(before_write)
        due = [key for key in rows if key not in equal]
        for place, key in enumerate(due):
            try:
                if self.notion.now - at > FRESH:
                    pages, at = self.every_head(due[place:]), self.notion.now
                    heads = own(pages, known.records)
                _take_marks_off(pages.get(key, ()), heads.get(key), writer)
                yield from self._written(self._case(key, rows[key], heads, known, doubt), writer, doubt)
            except RecordError as error:
                if isinstance(error, GoneError | RefusedError):
                    there.fitting(self.notion, self.source_id)  # of a database that is away no note is to blame
                yield BatchResult(counts=Counts(quarantined=1), rejected=[_rejection(key, error)], keys=[key])

    def _is_equal(self, row: Row, head: Head | None, known: Known) -> bool:
        """Whether a page is as its note says, by the listing alone."""
        record = known.records.get(row.key)
        if head is None or record is None or head.deleted or row.key in known.conflicts:
            return False
        return head.fingerprint == row.mark == record.fingerprint and record.calm and record.tells(head)

    def _case(self, key: str, row: Row, heads: Mapping[str, Head], known: Known, doubt: Doubt | None) -> Case:
        """A note and its page, whose blocks are read unless it stays as the last look has found it."""
        if not doubt:
            case = self.decidable(key, row, heads, known)
            if case.recalled is None or self._is_at_rest(case) or judge(case, self.strategy).decision.stays:
                return case
        return self.case(key, row, heads, known)

    def _written(self, case: Case, writer: PageWriter, doubt: Doubt | None) -> Iterator[BatchResult]:
        row = case.row
        assert row is not None
        at_rest = self._is_at_rest(case)
        if at_rest and not doubt:
            self._put_on_record(case)
            yield BatchResult(counts=Counts(unchanged=1), keys=[row.key])
            return
        dispute = judge(case, self.strategy)
        if dispute.decision.stays:
            if case.sight is not None and case.sight.head.deleted:
                writer.take_mark_off(case.sight.head)
            self._put_on_record(case)
            told = [dispute] if is_told(dispute.decision) and not at_rest else []
            yield BatchResult(counts=Counts(unchanged=1), keys=[row.key], kept={row.key: dispute.why}, disputes=told)
            return
        if dispute.decision.conflict:
            yield BatchResult(counts=Counts(), keys=(), disputes=[dispute])
        changed = self._carry_out(row, case, dispute, writer)
        self.written += changed
        yield BatchResult(counts=Counts(upserted=int(changed), unchanged=int(not changed)), keys=[row.key])

    def _is_at_rest(self, case: Case) -> bool:
        """Whether a page bears its note's fingerprint and stands as it was left with somebody's consent."""
        if case.row is None or case.sight is None:
            return False
        head = case.sight.head
        same = head.fingerprint == case.row.mark and not head.deleted and case.noted is None
        return same and case.is_as_accepted

    def _put_on_record(self, case: Case) -> None:
        if case.seen is not None and case.record is not None:
            self.looked(case.seen, case.record)

    def _carry_out(self, row: Row, case: Case, dispute: Dispute, writer: PageWriter) -> bool:
        """Write what was decided; whether anything was to be written."""
        if case.seen is None:
            self._make(row, case, writer)
            return True
        head = case.seen.head
        if dispute.decision.outcome is Outcome.MERGED:
            writer.change(row, case.seen, case.record, merged_plan(case, dispute.decision.values or {}))
            self.remember_left(row.key)
            return True
        is_whole = dispute.decision.outcome is Outcome.SAME and not head.deleted and head.key == row.key
        if is_whole and head.fingerprint == row.mark:
            self._note_same(row, case)
            return False
        self._change(row, case, writer)
        return True

    def _change(self, row: Row, case: Case, writer: PageWriter) -> None:
        assert case.seen is not None
        try:
            writer.change(row, case.seen, case.record, whole_plan(case))
        except StartRefusedError:  # some of it is written: what is left is another script
            record = self.records.of([row.key]).get(row.key)
            again = replace(case, record=record, seen=read_page(self.notion, case.seen.head, record))
            assert again.seen is not None
            writer.change(row, again.seen, record, whole_plan(again))

    def _make(self, row: Row, case: Case, writer: PageWriter) -> None:
        """Make a page, or take the one that lies in the trash out of it."""
        lying = self.lost(case.record)
        if lying is None or not lying.in_trash:
            writer.make(row, whole_plan(replace(case, record=None)))
            return
        head = writer.restore(lying)
        self._change(row, replace(case, seen=read_page(self.notion, head, case.record)), writer)

    def _note_same(self, row: Row, case: Case) -> None:
        """Put on record what stands on a page that is as its note says."""
        assert case.seen is not None
        note = case.record.note if case.record is not None else row.told
        self.records.keep(
            [
                Record(
                    key=row.key,
                    page_id=case.seen.head.id,
                    fingerprint=row.mark,
                    base=standing_for(case),
                    state=state_of(row.values),
                    edited=case.seen.head.edited,
                    seen=case.seen.as_of,
                    editor=self.notion.us,
                    note=note,
                )
            ]
        )

    def plan(self, batches: Iterable[pa.RecordBatch], *, rebuild: bool = False) -> PlannedWrites:
        """What `upsert` of these batches would do; writes nothing."""
        counts = Counts()
        for batch in batches:
            rows = rows_of(batch)
            if self.records.database() is None:
                counts += Counts(upserted=len(rows))
                continue
            for keys in paged(list(rows)):
                known = self.known(keys)
                heads = self.heads(keys, known.records)
                for key in keys:
                    same = self._is_equal(rows[key], heads.get(key), known) or self._stays(rows[key], heads, known)
                    counts += Counts(unchanged=int(same), upserted=int(not same))
        return PlannedWrites(counts=counts)

    def _stays(self, row: Row, heads: Mapping[str, Head], known: Known) -> bool:
        case = self.decidable(row.key, row, heads, known)
        decision = judge(case, self.strategy).decision
        head = case.sight.head if case.sight is not None else None
        done = decision.outcome is Outcome.SAME and head is not None and head.fingerprint == row.mark
        return decision.stays or done

    def looked(self, seen: Seen, record: Record | None) -> bool:
        """Note what a look at a page has shown; whether it is as the sync left it."""
        calm = is_calm(seen, record)
        if record is None or record.under_way is None:
            known = record or Record(key=seen.head.key, fingerprint=seen.head.fingerprint, editor=self.notion.us)
            state = dict(seen.base_state)
            looked = replace(known, page_id=seen.head.id, base=seen.region.base, state=state, calm=calm)
            found = None if same_state(seen.state, seen.base) else seen.found
            equal = None if found is None else known.equal or known.seen
            self.records.keep([replace(looked, edited=seen.head.edited, seen=seen.as_of, equal=equal, found=found)])
        return calm


def _take_marks_off(pages: Sequence[Head], own: Head | None, writer: PageWriter) -> None:
    """The note is back: say so on the copies that were marked with its page, which says so once it is written."""
    if own is not None and own.deleted:
        for head in pages:
            if head.id != own.id and head.deleted:
                writer.take_mark_off(head)


def is_calm(seen: Seen, record: Record | None) -> bool:
    """Whether a page stands as the sync left it, or as somebody has accepted it."""
    accepted = record is not None and record.left is not None and record.left == seen.mark
    return accepted or same_state(seen.state, seen.base)


def _rejection(key: str, error: RecordError) -> Rejection:
    reason = f"{error.message} {error.remedy}" if error.remedy else error.message
    return Rejection(key=key, reason=reason, stage="write")
