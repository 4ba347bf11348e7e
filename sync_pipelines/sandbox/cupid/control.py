"""A stand-in that runs in another process, changed from here: by its address and key alone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import ClassVar, Self
from urllib.parse import urlsplit

from sync_pipelines.sandbox.cupid.api import CONTROLS
from sync_pipelines.sandbox.stand_ins import control


class Control(control.Control):
    """What `api.Cupid` can be asked for, by the same names: `change`, `remove`, `fault`, `seen`, …"""

    controls: ClassVar[tuple[str, ...]] = CONTROLS

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """The stand-in that CUPID_BASE_URL and CUPID_API_KEY name."""
        parts = urlsplit(environment["CUPID_BASE_URL"])
        return cls(f"{parts.scheme}://{parts.netloc}", environment["CUPID_API_KEY"])
