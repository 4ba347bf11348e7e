"""How long old versions of a table are kept."""

from __future__ import annotations

from sync_pipelines.engine.errors import ConfigurationError

SHORTEST_HOURS = 168
"""Delta's own limit: a reader may be a week behind, and so may the change feed's."""


def check_retention(hours: int, *, allow_short: bool) -> None:
    """Refuse to take files away that somebody may be reading.

    Raises:
        ConfigurationError: fewer than 168 hours without the explicit word.
    """
    if hours < SHORTEST_HOURS and not allow_short:
        raise ConfigurationError(
            f"VACUUM with a retention of {hours} h would take files away from readers and the change feed.",
            remedy=f"Keep at least {SHORTEST_HOURS} h, or say allow_short_retention.",
        )
