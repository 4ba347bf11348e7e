"""SQL warehouses that run, stand still, or are on their way up; all of them are the one Spark."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from sync_pipelines.sandbox.databricks.web import Answer, Refusal, Request, Route, route

WAREHOUSE = "5a4db0c5a4db0c55"
"""The id of the warehouse that always runs."""

_API = "/api/2.0/sql/warehouses"


class Warehouse:
    """One warehouse."""

    def __init__(self, number: str, *, state: str = "RUNNING", start_seconds: float = 0.0) -> None:
        """Make one.

        Args:
            number: its id.
            state: RUNNING or STOPPED.
            start_seconds: what it takes to start.
        """
        self.id = number
        self.start_seconds = start_seconds
        self._state = state
        self._since = time.monotonic()

    @property
    def state(self) -> str:
        """RUNNING, STOPPED or STARTING."""
        if self._state == "STARTING" and time.monotonic() - self._since >= self.start_seconds:
            self._state = "RUNNING"
        return self._state

    def start(self) -> None:
        """Begin to start it; one that runs or starts is left as it is."""
        if self.state == "STOPPED":
            self._since = time.monotonic()
            self._state = "STARTING"

    def stop(self) -> None:
        """Stop it."""
        self._state = "STOPPED"

    def wait(self, give_up: threading.Event) -> None:
        """Start it if need be, and wait until it runs.

        Args:
            give_up: ends the wait early.
        """
        self.start()
        while self.state != "RUNNING" and not give_up.wait(0.02):
            self.start()

    def document(self) -> dict[str, Any]:
        """Return it as the API shows it."""
        return {"id": self.id, "name": f"sandbox {self.id}", "state": self.state, "cluster_size": "2X-Small"}


class Warehouses:
    """The warehouses by their ids."""

    def __init__(self) -> None:
        self._known = {WAREHOUSE: Warehouse(WAREHOUSE)}

    def find(self, number: str) -> Warehouse:
        """Return a warehouse.

        Raises:
            Refusal: when there is none with this id.
        """
        found = self._known.get(number)
        if found is None:
            raise Refusal(404, "RESOURCE_DOES_NOT_EXIST", f"SQL warehouse {number} does not exist.")
        return found

    def routes(self) -> Sequence[Route]:
        """Return the routes; the control endpoint /warehouses makes one with a state and a time to start."""
        return (
            route("warehouses", "GET", _API, self._list),
            route("warehouses", "GET", f"{_API}/([^/]+)", self._show),
            route("warehouses", "POST", f"{_API}/([^/]+)/(start|stop)", self._change),
            route("control", "POST", "/warehouses", self._make),
        )

    def _list(self, request: Request) -> Answer:
        return Answer(document={"warehouses": [one.document() for one in list(self._known.values())]})

    def _show(self, request: Request) -> Answer:
        return Answer(document=self.find(request.parts[0]).document())

    def _change(self, request: Request) -> Answer:
        warehouse = self.find(request.parts[0])
        getattr(warehouse, request.parts[1])()
        return Answer(document={})

    def _make(self, request: Request) -> Answer:
        number = request.wanted("id")
        state, seconds = request.document.get("state", "STOPPED"), float(request.document.get("start_seconds", 1))
        self._known[number] = Warehouse(number, state=state, start_seconds=seconds)
        return Answer(document=self._known[number].document())
