"""What stands around a document's fields: its `type:`, and the few fields that Dagster itself reads.

Dagster (1.13) loads a document's envelope before anything of it is checked, and says of a slip there no more than
pydantic's words below a hundred lines of traceback.
"""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from importlib import import_module
from typing import Any

from sync_pipelines.components.schema import one

EMPTY = "this document is empty, which Dagster refuses: take the line --- before it away"
NO_DOCUMENT = "there is no document in this file, which Dagster refuses: write one, or remove the file"


@cache
def schema() -> dict[str, Any]:
    """The JSON schema of a document as Dagster reads it, whatever its type."""
    from dagster.components.core.defs_module import ComponentFileModel

    found = ComponentFileModel.model_json_schema()
    properties = {name: one(shape.get("anyOf") or [shape]) for name, shape in found["properties"].items()}
    return {**found, "properties": properties}


def no_document(value: Any) -> str | None:
    """Why a YAML document is none of Dagster's at all, or None."""
    if value is None:
        return EMPTY
    if not isinstance(value, dict):
        return f"a document is made of fields (type, attributes), and this is a {_KINDS.get(type(value), 'text')}"
    return None


_KINDS = {list: "list", int: "number", float: "number", bool: "truth value"}


def wrong_type(name: str) -> str | None:
    """Why no component has this name, with the nearest that there is; None for one that can be loaded.

    A name that begins with a dot is one of the document's own folder, which only Dagster can look up.
    """
    from dagster import Component

    if name.startswith("."):
        return None
    package, _, kind = name.rpartition(".")
    try:
        found = getattr(import_module(package), kind) if package else None
    except Exception as error:  # a package of others may raise anything when it is imported
        return _unknown(name, None if isinstance(error, ModuleNotFoundError | AttributeError) else error)
    if not isinstance(found, type) or not issubclass(found, Component):
        return _unknown(name, None)
    return None


def _unknown(name: str, error: BaseException | None) -> str:
    ours = [f"sync_pipelines.{kind}" for kind in _kinds()]
    near = get_close_matches(name, ours, n=1)
    said = f"{name!r} cannot be imported ({type(error).__name__}: {error})" if error else f"there is no type {name!r}"
    offered = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(ours)}"
    return f"{said}; {offered}"


def _kinds() -> list[str]:
    """The names of our own components."""
    import sync_pipelines
    from sync_pipelines.components.base import SyncComponent

    found = ((name, getattr(sync_pipelines, name)) for name in sync_pipelines.__all__)
    return [name for name, kind in found if isinstance(kind, type) and issubclass(kind, SyncComponent)]
