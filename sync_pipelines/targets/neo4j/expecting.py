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
        for record in records:
            values = [record[f"p{number}"] for number in range(len(self._properties.names))]
            self._see(record["key"], record["mark"], values, (record.get("start_key"), record.get("end_key")))

    def compare(self, were: Sequence[Sequence[Any]]) -> None:
        """See that nodes are what they were judged as.

        Args:
            were: key, fingerprint and values of each.

        Raises:
            EditedError: one of them is not.
        """
        for key, mark, *values in were:
            self._see(key, mark, values, (None, None))

    def _see(self, key: str, mark: Any, values: Sequence[Any], ends: tuple[Any, Any]) -> None:
        then = self._held.get(key)
        if then is None:
            return
        mark = mark if isinstance(mark, str) else None
        if mark != then.mark or not self._forms.is_state(values, ends, then.state):
            raise EditedError
