"""A far system that does not answer is waited for once a command, however many tables it has."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from sync_pipelines.engine.errors import TransientError

if TYPE_CHECKING:
    from sync_pipelines.registry import BoundTable

Answer = TypeVar("Answer")

_ONE_PLACE = ("chroma", "neo4j")
"""Systems of which there is one for all tables: of the others, one may answer where another does not."""


class Outages:
    """Asks the tables of one command.

    A client is patient, since a run is to outlive a restart: of a graph half a minute, which somebody at a terminal
    would wait for at each of its tables.
    """

    def __init__(self) -> None:
        self._failed: dict[str, TransientError] = {}
        self._away: dict[str, bool] = {}

    def ask(self, bound: BoundTable, question: Callable[[BoundTable], Answer]) -> Answer:
        """What the table answers.

        Raises:
            SyncError: what the question raises; or what it raised for a table before, whose system is still away.
        """
        system = bound.component.far_system
        if (error := self._failed.get(system)) is not None and self._is_away(bound, system):
            sync, table = bound.component.sync, bound.component.table_name
            raise TransientError(error.message, remedy=error.remedy, sync=sync, table=table)
        try:
            return question(bound)
        except TransientError as error:
            if system in _ONE_PLACE:
                self._failed.setdefault(system, error)
            raise

    def _is_away(self, bound: BoundTable, system: str) -> bool:
        """Asked once, without patience: what failed may have been the source."""
        from sync_pipelines.health_systems import FAR_SYSTEMS

        if system not in self._away:
            self._away[system] = FAR_SYSTEMS[system](bound.resources).status == "down"
        return self._away[system]
