"""The stand-in of Google Keep as a child process, on a free port of 127.0.0.1."""

from __future__ import annotations

from typing import ClassVar

from sync_pipelines.sandbox.keep.api import CONTROLS
from sync_pipelines.sandbox.stand_ins.server import StandInServer


class KeepServer(StandInServer):
    """One process that serves what `api.Keep` is; its key lies in its folder, all else in its memory.

    What `api.CONTROLS` names can be asked for by these names.
    """

    name: ClassVar[str] = "the stand-in of Google Keep"
    module: ClassVar[str] = "sync_pipelines.sandbox.keep"
    controls: ClassVar[tuple[str, ...]] = CONTROLS
    prefix: ClassVar[str] = "keep-"

    @property
    def variables(self) -> dict[str, str]:
        """What points the source at this server."""
        return addresses(self.address)


def addresses(address: str) -> dict[str, str]:
    """The variables that point the source at a stand-in."""
    return {
        "KEEP_API_URL": f"{address}/notes/v1/",
        "KEEP_AUTH_URL": f"{address}/auth",
        "KEEP_MEDIA_URL": f"{address}/media/v2/",
    }
