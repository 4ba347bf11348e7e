"""Whether records are still what they were judged as, in the transaction that writes over them, under its locks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sync_pipelines.targets.neo4j.client import run
from sync_pipelines.targets.neo4j.elements import Elements
from sync_pipelines.targets.neo4j.forms import Forms
from sync_pipelines.targets.neo4j.judgement import EditedError, Held
from sync_pipelines.targets.neo4j.properties import Properties

if TYPE_CHECKING:
    from neo4j import ManagedTransaction


class Expecting:
    """Implements `writing.Expected`.

    Args:
        held: what they were read as, or were taken to be, by key; of others nothing is expected.
    """

    def __init__(self, elements: Elements, properties: Properties, forms: Forms, held: Mapping[str, Held]) -> None:
        self._elements, self._properties, self._forms, self._held = elements, properties, forms, held

    def lock(self, transaction: ManagedTransaction, keys: Sequence[str]) -> None:
        """Lock those of these records that were judged, and see that they are what they were then.

        Raises:
            EditedError: one of them is not.
        """
        known = [key for key in keys if key in self._held]
        if not known:
            return
        records = run(transaction, self._elements.locked(self._properties), {"keys": known})
        if len({record["key"] for record in records}) < len(known):
            raise EditedError
        self.compare(records)

    def compare(self, were: Sequence[Mapping[str, Any]]) -> None:
        """See that records, as `Properties.returned` gives them, are what they were judged as.

        Raises:
            EditedError: one of them is not.
        """
        names = self._properties.names
        for record in were:
            then = self._held.get(record["key"])
            if then is not None and not self._is_as(then, record, names):
                raise EditedError

    def _is_as(self, then: Held, record: Mapping[str, Any], names: Sequence[str]) -> bool:
        mark = record["mark"] if isinstance(record["mark"], str) else None
        values = {name: record[f"p{number}"] for number, name in enumerate(names)}
        ends = (record.get("start_key"), record.get("end_key"))
        return mark == then.mark and self._forms.is_state(values, ends, then.state)
