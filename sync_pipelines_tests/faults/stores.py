"""Systems of the lines with Delta tables: an S3 server behind a proxy, and the stand-in of Databricks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from sync_pipelines_tests.faults.far_proxy import FarProxy
from sync_pipelines_tests.faults.systems import TRIES
from sync_pipelines_tests.sandbox.databricks.shared import Schema

_IN_THE_MIDDLE = 100
QUICK = {
    "max_retries": str(TRIES - 1),
    "retry_timeout": "5s",
    "timeout": "1s",
    "connect_timeout": "1s",
    "backoff_config.init_backoff": "10ms",
    "backoff_config.max_backoff": "50ms",
}
"""DELTA_STORAGE_OPTIONS: as many layers of patience as delta-rs has, each of few tries."""


@dataclass
class StoreSystem:
    """An S3 server.

    Args:
        somebody: commits to the table, beside the sync. logs: how a request begins that commits to it.
    """

    proxy: FarProxy
    somebody: Callable[[], object]
    logs: str
    _must_cut: bool = field(init=False, default=False)
    words: ClassVar[Mapping[str, str]] = {"": r"\Ashop/item: Delta: could not [\w ]+ 'shop/item'[^\x1b]*\Z"}

    def refuse(self) -> None:
        self.proxy.refuse()

    def reset_request(self) -> None:
        self.proxy.reset_after(_IN_THE_MIDDLE, "request")

    def reset_answer(self) -> None:
        self.proxy.reset_after(_IN_THE_MIDDLE, "response")

    def reset_often(self) -> None:
        self.proxy.reset_after(_IN_THE_MIDDLE, "request", times=TRIES + 1)

    def stall(self) -> None:
        self.proxy.stall()

    def commit_first(self) -> None:
        self.somebody()

    def lose_answer(self) -> None:
        self._must_cut = True
        self.proxy.lose_answer_to(self.logs)

    def heal(self) -> None:
        lost, self._must_cut = self._must_cut, False
        assert not lost or self.proxy.cuts() == 1, "no commit was seen to pass"
        self.proxy.heal()


@dataclass
class WarehouseSystem:
    """The stand-in of Databricks, of whose requests one schema's meet faults."""

    schema: Schema
    words: ClassVar[Mapping[str, str]] = {"": r"Databricks"}

    def refuse(self) -> None:
        """Whatever is asked for longer than the SDK tries."""
        self.schema.fault("503", times=10_000)

    def heal(self) -> None:
        self.schema.server.clear_faults(self.schema.name)
