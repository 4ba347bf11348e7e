"""The JSON schema of documents, by which `dg check yaml` and editors find what is wrong before anything loads.

Dagster derives a schema from a component's fields. Since any value may be a template (`{{ … }}`), it lets every field
be any text: `every: fortnight` passes, and of a wrong field in a block is only said that the block "is not valid under
any of the given schemas" (1.13, `derive_model_type`). Here a text that is no template must fit the field, and an error
in a block is that of its field.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, ClassVar, get_args

from pydantic import BaseModel

from sync_pipelines.engine.errors import ConfigurationError

CRON = r"^\S+( +\S+){4}$|^@[a-z]+$"
DATE = r"^\d{4}-(0[1-9]|1[0-2])-[0-3]\d"
DURATION = r"^\d+(\.\d+)?[smhd]$"

READ_AS = "YAML reads on, off, yes and no as true and false"
QUOTES = f"{READ_AS}: write such a name in quotes"
"""What is told where a name or a path became a truth."""

_TEMPLATE = {"type": "string", "pattern": r"\{\{"}


@contextmanager
def field_errors(*, prefix: str = "", without: str = "") -> Generator[None]:
    """What the engine refuses of a setting, as pydantic wants to be told it: without the last stop.

    Args:
        prefix: stands before the sentence. without: taken off its beginning, where pydantic names the place itself.
    """
    try:
        yield
    except ConfigurationError as error:
        raise ValueError(f"{prefix}{str(error).removeprefix(without)}".rstrip(".")) from None


class Strict:
    """A model whose schema says what its fields take; `shapes` holds what their types do not say."""

    shapes: ClassVar[dict[str, dict[str, Any]]] = {}

    @classmethod
    def model(cls) -> type[BaseModel]:
        derived = super().model()  # ty: ignore[missing-attribute]
        given = derived.model_config.get("json_schema_extra")
        if isinstance(given, dict):  # Dagster's; the first time
            derived.model_config["json_schema_extra"] = _Extra(cls, given)
        return derived


class _Extra:
    """Adds to a derived model's schema what Dagster adds, and makes it strict."""

    def __init__(self, kind: type[Strict], given: dict[str, Any]) -> None:
        self._kind, self._given = kind, given

    def __call__(self, schema: dict[str, Any]) -> None:
        schema.update(self._given)
        schema["properties"] = {
            name: strict(shape, _takes_text(self._kind, name), self._kind.shapes.get(name, {}))
            for name, shape in schema["properties"].items()
        }


def _takes_text(kind: type, name: str) -> bool:
    annotation = kind.model_fields[name].annotation  # ty: ignore[missing-attribute]
    return annotation is str or str in get_args(annotation)


def strict(shape: dict[str, Any], takes_text: bool, more: dict[str, Any]) -> dict[str, Any]:
    """A field's schema in which a text is a template, or what the field takes.

    Args:
        shape: as Dagster derives it; takes_text: whether the field itself is a text.
        more: what the value must fit beside.
    """
    kept = {name: shape[name] for name in ("title", "description", "default", "examples") if name in shape}
    kinds = shape.get("anyOf") or [{name: value for name, value in shape.items() if name not in kept}]
    if not takes_text:
        kinds = [kind for kind in kinds if kind != {"type": "string"}]
    return {**kept, "if": _TEMPLATE, "else": {**one(kinds), **more}}


def one(kinds: list[dict[str, Any]]) -> dict[str, Any]:
    """One schema for several kinds of value; plain ones become one, whose errors say more."""
    if len(kinds) == 1:
        return kinds[0]
    if all("$ref" not in kind and "enum" not in kind and "items" not in kind for kind in kinds):
        merged = {name: value for kind in kinds for name, value in kind.items()}
        return {**merged, "type": [kind["type"] for kind in kinds]}
    return {"anyOf": kinds}
