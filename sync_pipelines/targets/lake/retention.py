"""How long old versions of a table are kept."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from sync_pipelines.engine.errors import ConfigurationError

SHORTEST_HOURS = 168
"""Delta's own limit: a reader may be a week behind, and so may the change feed's."""

_PROPERTY = "delta.deletedFileRetentionDuration"
_HOURS = {"week": 168.0, "day": 24.0, "hour": 1.0, "minute": 1 / 60, "second": 1 / 3600}


def hours_kept(properties: Mapping[str, str]) -> int:
    """Hours for which a table asks to keep its old files; 0 where it does not say so, or in no unit of a fixed length.

    Every engine refuses a VACUUM of fewer.
    """
    found = re.fullmatch(r"(?:interval )?(\d+) (\w+?)s?", properties.get(_PROPERTY, "").strip().lower())
    return math.ceil(int(found[1]) * _HOURS.get(found[2], 0.0)) if found else 0


def check_retention(hours: int, *, allow_short: bool, otherwise: str = ", or say allow_short_retention") -> None:
    """Refuse to take files away that somebody may be reading.

    Args:
        allow_short: the explicit word. otherwise: the end of the remedy; it says nothing of a word that is not taken.

    Raises:
        ConfigurationError: fewer than 168 hours without the explicit word.
    """
    if hours < SHORTEST_HOURS and not allow_short:
        raise ConfigurationError(
            f"VACUUM with a retention of {hours} h would take files away from readers and the change feed.",
            remedy=f"Keep at least {SHORTEST_HOURS} h{otherwise}.",
        )
