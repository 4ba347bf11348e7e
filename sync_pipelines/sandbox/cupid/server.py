"""The stand-in of Cupid as a child process, on a free port of 127.0.0.1."""

from __future__ import annotations

from typing import ClassVar

from sync_pipelines.sandbox.cupid import hotels
from sync_pipelines.sandbox.cupid.api import CONTROLS, VERSION
from sync_pipelines.sandbox.stand_ins.server import StandInServer


class CupidServer(StandInServer):
    """One process that serves what `api.Cupid` is; its key and its edits lie in its folder.

    What `api.Cupid` can be asked for, this can, too, by the same names: `change`, `remove`, `fault`, `seen`, …
    """

    name: ClassVar[str] = "the stand-in of Cupid"
    module: ClassVar[str] = "sync_pipelines.sandbox.cupid"
    controls: ClassVar[tuple[str, ...]] = CONTROLS
    prefix: ClassVar[str] = "cupid-"

    @property
    def url(self) -> str:
        """As CUPID_BASE_URL takes it."""
        return f"{self.address}/{VERSION}"

    @property
    def variables(self) -> dict[str, str]:
        """What points a sync at this server."""
        return {"CUPID_BASE_URL": self.url, "CUPID_API_KEY": self.key}

    def ids(self, count: int) -> list[int]:
        """So many ids of hotels, always the same."""
        return hotels.some_ids(count)
