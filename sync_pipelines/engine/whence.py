"""Which variables name a database: whoever meets a wrong address later knows no variable to tell.

Only `resources` reads the environment; it notes here what it has read, and the sentence of a failed connection says it.
"""

from __future__ import annotations

_variables: dict[str, dict[str, None]] = {}


def note(place: str, variable: str) -> None:
    """Remember that this variable names the database at a place (`engine.database.place`)."""
    _variables.setdefault(place, {})[variable] = None


def url_of(place: str) -> str:
    """The variables that name this place, or words for the URL of the connection where none is known."""
    return " and ".join(_variables.get(place, ())) or "the connection's URL"
