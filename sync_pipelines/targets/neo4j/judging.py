"""Before the sync writes into a graph that people edit: what they have changed since it last did, and who wins.

What the graph holds is compared with what was last synced, so an edit is seen although nobody has raised a version.
What was judged is looked at once more in the transaction that writes, under locks: an edit that comes in between is
judged anew.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from sync_pipelines.engine.deciding import Decision, Dispute, Outcome, Sides, State, decide
from sync_pipelines.engine.errors import TransientError
from sync_pipelines.engine.ledger.bases import KnownBase
from sync_pipelines.engine.ledger.conflict_rows import OpenConflict
from sync_pipelines.engine.merging import same
from sync_pipelines.engine.model import FINGERPRINT, KEY, BatchResult, Counts, Doubt
from sync_pipelines.targets.neo4j.expecting import Expecting
from sync_pipelines.targets.neo4j.forms import Forms, is_unlike, with_maps
from sync_pipelines.targets.neo4j.judgement import EditedError, Held, Judgement, Rules, TableBooks, words
from sync_pipelines.targets.neo4j.writing import Looked, Writer

_LOOKS = 3


class Judge:
    """Judges the records of one label or type.

    Args:
        writer: which brings them; it is asked for what waits, and looks again before it writes.
        rules: who wins. books: what was last synced. forms: how values are compared.
    """

    def __init__(self, writer: Writer, rules: Rules, books: TableBooks) -> None:
        self._writer, self._rules, self._books = writer, rules, books
        self._graph, self._elements, self._properties = writer.graph, writer.elements, writer.properties
        self._doubted = writer.doubt
        self._forms = Forms(writer.properties, hidden=rules.hidden, salt="/".join(books.place))

    # Writing

    def bring(self, batch: pa.RecordBatch) -> Iterator[BatchResult]:
        """Bring a batch into the graph, but for what stays there; what was decided is told before it is done.

        Raises:
            TransientError: somebody edits these records again and again.
        """
        batch = batch.sort_by(KEY)
        for number in range(_LOOKS):
            found = self.look(batch, doubt=self._doubted, trust=number == 0)
            if decided := [item for item in found.told if item.decision.conflict and not item.decision.stays]:
                yield BatchResult(counts=Counts(), keys=(), disputes=decided)
            try:
                yield self._write(batch, found)
            except EditedError:
                continue
            return
        raise TransientError(
            f"could not write to {self._elements.title}: its records are edited meanwhile, again and again.",
            **self._graph.where,
        )

    def _write(self, batch: pa.RecordBatch, found: Judgement) -> BatchResult:
        self._books.forget(found.lost)
        self._books.keep(found.before)
        result = self._written(found)
        bad = {item.key for item in result.rejected}
        self._books.keep({key: base for key, base in found.after.items() if key not in bad})
        self.take_back(found, bad)
        counts = Counts(unchanged=len(found.kept))
        counts += result.counts
        stays = [item for item in found.told if item.decision.stays]
        keys = batch.column(KEY).to_pylist()
        return BatchResult(counts=counts, rejected=result.rejected, keys=keys, kept=found.kept, disputes=stays)

    def _written(self, found: Judgement) -> BatchResult:
        if not found.rows.num_rows:
            return BatchResult(counts=Counts())
        writer, doubt = self._writer, self._writer.doubt
        writer.expected = self.expecting(found.held)
        writer.doubt = doubt or ("values" if found.doubt else None)
        writer.known = self._known(found, writer.doubt)
        try:
            return writer.write(found.rows)
        finally:
            writer.doubt = doubt

    def _known(self, found: Judgement, doubt: Doubt | None) -> dict[str, Mapping[str, Any]] | None:
        """What the writer would ask the graph for, where it was asked already: a batch that is new costs one look."""
        if doubt is None:
            return {key: {**row, FINGERPRINT: row["mark"]} for key, row in found.there.items()}
        if any(key in found.there and key not in found.held for key in found.rows.column(KEY).to_pylist()):
            return None
        whole = {key: (held.row, held.raw) for key, held in found.held.items()}
        return {key: {**row, **raw} for key, (row, raw) in whole.items() if row is not None and raw is not None}

    def expecting(self, held: Mapping[str, Held]) -> Expecting:
        """What these records are, or were taken to be; others are not looked at."""
        return Expecting(self._elements, self._properties, self._forms, held)

    # Making ready

    def ready(self, batch: pa.RecordBatch, *, doubted: Collection[str], check: Callable[[], object]) -> Judgement:
        """Look at sorted rows, and note the bases of what is about to be changed, but for what is `odd`.

        Args:
            doubted: nobody knows which of their bases these have now, and it would be lost if another one was noted
                and the write failed once more; they are judged by themselves. check: called before anything is noted.
        """
        found = self._foreseen(batch) if self._elements.ends is None else self.look(batch, trust=True)
        found.odd |= {item.key for item in found.told}.union(doubted)
        self._writer.known = self._known(found, None)
        check()
        self._books.forget([key for key in found.lost if key not in found.odd])
        self._books.keep({key: base for key, base in found.before.items() if key not in found.odd})
        return found

    def _foreseen(self, batch: pa.RecordBatch) -> Judgement:
        """What nodes must be unless somebody has edited them, which is seen as they are written: no look at the graph.

        What would be written as it was last synced is looked for there, and what was noted is judged by itself.
        """
        rows = batch.to_pylist()
        bases, noted = self._books.known([row[KEY] for row in rows])
        same = [row[KEY] for row in rows if row[KEY] in bases and bases[row[KEY]].fingerprint == row[FINGERPRINT]]
        there = (
            {row["key"]: row for row in self._elements.records(self._ask(self._elements.held(), same))} if same else {}
        )
        held: dict[str, Held] = {}
        found = Judgement(rows=batch, held=held, there=there)
        for row in rows:
            key, base = row[KEY], bases.get(row[KEY])
            if key in noted or (base is not None and base.data is None):
                found.odd.add(key)
            elif base is None:
                held[key] = Held(mark=None, state={})
                found.after[key] = KnownBase(row[FINGERPRINT], self._forms.state(row))
            elif base.fingerprint != row[FINGERPRINT]:
                held[key] = Held(mark=base.fingerprint, state=self._forms.of_now(base.data or {}))
                self._note(found, row, held[key], base)
            elif _mark(there, key) != row[FINGERPRINT]:
                found.odd.add(key)
        return found

    def take_back(self, found: Judgement, keys: Collection[str]) -> None:
        """Undo what was noted of these, which were not written: what stands there may be older, and no edit."""
        self._books.keep({key: found.were[key] for key in keys if key in found.were})

    def note_made(self, bases: Mapping[str, KnownBase]) -> None:
        """Note the bases of what was made."""
        self._books.keep(bases)

    # Judging

    def look(self, batch: pa.RecordBatch, *, doubt: Doubt | None = None, trust: bool = False) -> Judgement:
        """What becomes of a batch; writes nothing. Only what differs, by its fingerprint, is judged without doubt.

        Args:
            trust: take what bears the fingerprint of its base for what was last synced; it is looked at as it is
                written (`expecting`), and then alone, since nearly always nobody has edited it.
        """
        rows = batch.to_pylist()
        keys = [row[KEY] for row in rows]
        bases, noted = self._books.known(keys)
        there = self._there(keys)
        suspects = [row for row in rows if doubt or row[KEY] in noted or _mark(there, row[KEY]) != row[FINGERPRINT]]
        wanted = [row[KEY] for row in suspects if row[KEY] in there]
        trusted = (
            self._trusted([key for key in wanted if key not in noted], there, bases) if trust and not doubt else {}
        )
        held = trusted | self._held([key for key in wanted if key not in trusted], bases)
        lost = self._waiting([row for row in suspects if row[KEY] not in there and row[KEY] in bases])
        found = Judgement(rows=batch, held=held, lost=lost, there=there)
        # what is as it was last synced, or never was, is the source's
        doubtful = (there.keys() | bases.keys() | noted.keys()).difference(lost, trusted)
        judged = {
            row[KEY]: self._judged(row, held.get(row[KEY]), bases.get(row[KEY]), noted.get(row[KEY]))
            for row in suspects
            if row[KEY] in doubtful
        }
        found.told = [item for item in judged.values() if item.decision.told]
        self._fill(found, rows, judged, bases)
        return found

    def _ask(self, statement: str, keys: Sequence[str]) -> list[dict[str, Any]]:
        return self._graph.read(f"look into {self._elements.title}", statement, keys=list(keys))

    def _there(self, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
        found = self._ask(self._elements.held(), keys)
        return {row["key"]: row for row in self._elements.records(found)}

    def _trusted(
        self, keys: Sequence[str], there: Mapping[str, Mapping[str, Any]], bases: Mapping[str, KnownBase]
    ) -> dict[str, Held]:
        """Those of these records that bear the fingerprint of what was last synced, as that."""
        found: dict[str, Held] = {}
        for key in keys:
            base, mark = bases.get(key), there[key]["mark"]
            data = None if base is None or mark is None else base.of(mark)
            if data is not None:
                found[key] = Held(mark=mark, state=self._forms.of_now(data))
        return found

    def _held(
        self, keys: Sequence[str], bases: Mapping[str, KnownBase], *, forms: Forms | None = None
    ) -> dict[str, Held]:
        if not keys:
            return {}
        known = {key: base.data for key, base in bases.items() if base.data is not None}
        return self._read(self._ask(self._elements.values(self._properties), keys), known, forms=forms)

    def _read(
        self, records: Sequence[Mapping[str, Any]], bases: Mapping[str, State], *, forms: Forms | None = None
    ) -> dict[str, Held]:
        """The records that a statement gave."""
        rows = self._properties.batch(records, ends=self._elements.ends is not None).to_pylist()
        found: dict[str, Held] = {}
        for record, row in zip(records, rows, strict=True):
            raw = {name: record[f"p{number}"] for number, name in enumerate(self._properties.names)}
            state = (forms or self._forms).held(row, raw, bases.get(row[KEY]))
            found[row[KEY]] = Held(mark=row[FINGERPRINT], state=state, row=row, raw=record)
        return found

    def _waiting(self, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        """Those of these relationships, gone from the graph, whose nodes went too: nobody has deleted them alone."""
        looked = Looked()
        self._writer.sort_out(rows, looked)
        return [item.key for item in looked.waiting]

    def _judged(
        self, row: Mapping[str, Any], held: Held | None, base: KnownBase | None, noted: OpenConflict | None
    ) -> Dispute:
        source, mark = self._forms.state(row), row[FINGERPRINT]
        sides = self._sides(source, held, base)
        accepted = noted is not None and noted.accepted and noted.source_fingerprint == mark
        return self._dispute(row[KEY], sides, fingerprint=mark, accepted=accepted)

    def _sides(self, source: State | None, held: Held | None, base: KnownBase | None) -> Sides:
        target, by = held.state if held else None, self._rules.by or ""
        last = self._last(held, base)
        source, target, last = with_maps(source, target, last)
        return Sides(
            source=source,
            target=target,
            base=last,
            source_version=((last or {}) if source is None else source).get(by),
            target_version=(target or {}).get(by),
        )

    def _last(self, held: Held | None, base: KnownBase | None) -> State | None:
        """What was last synced; what is there now where the sync wrote it and noted nothing."""
        if base is None or base.data is None:
            return held.state if held is not None and held.mark is not None else None
        then = base.of(held.mark) if held is not None and held.mark is not None else None
        return self._forms.of_now(base.data if then is None else then)

    def _dispute(self, key: str, sides: Sides, *, fingerprint: str | None, accepted: bool) -> Dispute:
        decision = decide(self._rules.strategy, sides)
        if accepted and decision.outcome is not Outcome.SAME:
            decision = Decision(outcome=Outcome.TARGET, conflict=decision.conflict)
        if decision.values is not None and any(map(is_unlike, decision.values.values())):
            decision = Decision(outcome=Outcome.REVIEW, conflict=True)
        why = "somebody has accepted the graph's version" if accepted else words(decision, sides, self._rules.strategy)
        return Dispute(
            key=key,
            strategy=self._rules.strategy,
            decision=decision,
            why=why,
            sides=sides,
            fingerprint=fingerprint,
            accepted=accepted,
        )

    # What follows from it

    def _fill(
        self,
        found: Judgement,
        rows: Sequence[Mapping[str, Any]],
        judged: Mapping[str, Dispute],
        bases: Mapping[str, KnownBase],
    ) -> None:
        brought: list[Mapping[str, Any]] = []
        for row in rows:
            key, dispute, held = row[KEY], judged.get(row[KEY]), found.held.get(row[KEY])
            if dispute is not None and dispute.decision.stays:
                self._put_back(found, key, held, bases.get(key))
                continue
            brought.append(self._merged(row, held, dispute))
            if held is not None and held.mark == row[FINGERPRINT]:
                found.doubt = True
                found.odd.add(key)
            self._note(found, row, held, bases.get(key))
        if len(brought) < len(rows) or any(given is not row for given, row in zip(brought, rows, strict=True)):
            found.rows = pa.RecordBatch.from_pylist([dict(row) for row in brought], schema=found.rows.schema)

    def _put_back(self, found: Judgement, key: str, held: Held | None, base: KnownBase | None) -> None:
        """The base of what stays, where it was noted for a write that did not come; by hand both have one mark."""
        mark = None if held is None else held.mark
        if mark is not None and base is not None and base.previous == mark != base.fingerprint:
            found.before[key] = KnownBase(mark, base.previous_data)

    def _merged(self, row: Mapping[str, Any], held: Held | None, dispute: Dispute | None) -> Mapping[str, Any]:
        if dispute is None or held is None or dispute.decision.outcome is not Outcome.MERGED:
            return row  # what was merged was read, not trusted: it was edited
        values = dispute.decision.values or {}
        return self.put_together(row, held, dispute.sides, values)

    def put_together(
        self, row: Mapping[str, Any], held: Held, sides: Sides, values: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The source's row with these values, each of which is one side's, or was made of both."""
        made, there = dict(row), held.row or {}
        for name in self._forms.kinds:
            value = values.get(name)
            if name not in row or same(value, (sides.source or {}).get(name)):
                continue
            taken = value is not None and not is_unlike(value) and same(value, (sides.target or {}).get(name))
            made[name] = there[name] if taken else self._forms.native(name, value)
        return made

    def _note(self, found: Judgement, row: Mapping[str, Any], held: Held | None, base: KnownBase | None) -> None:
        """Which base is to be kept of a row that is brought.

        Of a record that is made it is noted afterwards: noted before, and then not made, it would look deleted. Of one
        that is changed it is noted before: noted later, and then not, the sync's own write would look like an edit.
        """
        key, mark = row[KEY], row[FINGERPRINT]
        if base is not None and base.fingerprint == mark and (held is None or held.mark == mark):
            return
        now = KnownBase(mark, self._forms.state(row))
        if held is None or held.mark == mark:
            found.after[key] = now
        else:
            # what the ledger has of it stays there, and is not sent again
            kept = base is not None and base.data is not None and base.fingerprint == held.mark
            found.were |= {} if base is None else {key: base}
            found.before[key] = replace(now, previous=held.mark, previous_data=None if kept else self._last(held, base))

    # Records that the source lacks, and what people are shown

    def disputes(self, keys: Sequence[str]) -> list[Dispute]:
        """Those of these records, which the source lacks, that were edited or made here."""
        return self.doomed(keys)[1]

    def doomed(self, keys: Sequence[str]) -> tuple[Mapping[str, Held], list[Dispute]]:
        """What the graph holds of these records, which the source lacks, and those that were edited or made here."""
        told = []
        bases, noted = self._books.known(keys)
        held = self._held(keys, bases)
        for key, found in held.items():
            sides = self._sides(None, found, bases.get(key))
            accepted = key in noted and noted[key].accepted and noted[key].source_fingerprint is None
            dispute = self._dispute(key, sides, fingerprint=None, accepted=accepted)
            if dispute.decision.told:
                told.append(dispute)
        return held, told

    def sides(self, batch: pa.RecordBatch | None, keys: Sequence[str]) -> dict[str, Dispute]:
        """What would be decided now of these records, whether they differ or not."""
        rows = {row[KEY]: row for row in batch.to_pylist()} if batch is not None else {}
        bases, noted = self._books.known(keys)
        held = self._held(keys, bases)
        found = {}
        for key in keys:
            if key in rows:
                found[key] = self._judged(rows[key], held.get(key), bases.get(key), noted.get(key))
            else:
                sides = self._sides(None, held.get(key), bases.get(key))
                found[key] = self._dispute(key, sides, fingerprint=None, accepted=False)
        return found

    def shown(self, batch: pa.RecordBatch | None, keys: Sequence[str]) -> dict[str, Sides]:
        """What people are shown of these records: the values, but for sensitive ones."""
        disputes, readable = self.sides(batch, keys), self._forms.readable()
        rows = {row[KEY]: row for row in batch.to_pylist()} if batch is not None else {}
        there = self._held(keys, {}, forms=readable)
        return {
            key: replace(
                dispute.sides,
                source=readable.state(rows[key]) if key in rows else None,
                target=there[key].state if key in there else None,
                base=None if dispute.sides.base is None else readable.veiled(dispute.sides.base),
            )
            for key, dispute in disputes.items()
        }

    def held(self, keys: Sequence[str]) -> dict[str, Held]:
        """What the graph holds of these records now."""
        return self._held(keys, self._books.known(keys)[0])


def _mark(there: Mapping[str, Mapping[str, Any]], key: str) -> Any:
    return there[key]["mark"] if key in there else None
