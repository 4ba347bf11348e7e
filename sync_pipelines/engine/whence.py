"""Which variables name a database: whoever meets a wrong address later knows no variable to tell.

Only `resources` reads the environment; it notes here what it has read, and the sentence of a failed connection says it.
"""

from __future__ import annotations

_variables: dict[str, dict[str, str]] = {}


def note(place: str, variable: str, *, user: str) -> None:
    """Remember that this variable names the database at a place (`engine.database.place`), and whom it logs in."""
    _variables.setdefault(place, {})[variable] = user


def url_of(place: str, said: str = "") -> str:
    """The variables that name this place, or words for the URL of the connection where none is known.

    Args:
        said: what the server says; of several variables those count whose user it names.
    """
    named = _variables.get(place, {})
    chosen = [variable for variable, user in named.items() if user and f'"{user}"' in said]
    return " and ".join(chosen or named) or "the connection's URL"
