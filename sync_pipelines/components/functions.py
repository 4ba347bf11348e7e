"""Functions that documents name: `package.module:function`."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def named_function(field: str, name: str) -> Any:
    """The function of this name.

    Args:
        field: where the document names it, for the sentence.

    Raises:
        ValueError: there is none.
    """
    module, _, function = name.partition(":")
    if not module or not function:
        raise ValueError(f"{field}: {name!r} is no function: write package.module:function")
    try:
        found = getattr(import_module(module), function)
    except Exception as error:  # a module of the user's own may raise anything
        raise ValueError(f"{field}: {name}: {type(error).__name__}: {error}") from None
    if not callable(found):
        raise ValueError(f"{field}: {name} is no function")
    return found
