"""Quoting for SQL that is built from names and values that a user chose."""

from __future__ import annotations

from sync_pipelines.engine.errors import ConfigurationError


def identifier(name: str) -> str:
    """`name` as a quoted SQL identifier, whatever stands in it.

    Raises:
        ConfigurationError: for an empty name or one with a NUL character, which PostgreSQL cannot hold.
    """
    if not name or "\0" in name:
        raise ConfigurationError(f"{name!r} is not a name that PostgreSQL can hold.")
    return '"' + name.replace('"', '""') + '"'


def qualified(schema: str | None, name: str) -> str:
    """`schema.name`, each part quoted; the name alone where there is no schema."""
    return f"{identifier(schema)}.{identifier(name)}" if schema else identifier(name)


def literal(value: str) -> str:
    """`value` as a SQL string literal, the same under any `standard_conforming_strings`."""
    if "\0" in value:
        raise ConfigurationError(f"{value!r} holds a NUL character, which PostgreSQL's text cannot hold.")
    quoted = value.replace("'", "''")
    return " E'" + quoted.replace("\\", "\\\\") + "'" if "\\" in quoted else f"'{quoted}'"
