"""Reading the environment: one sentence for each thing that is missing or wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from ipaddress import AddressValueError, IPv6Address
from urllib.parse import quote

from sync_pipelines.engine import whence
from sync_pipelines.engine.database import driver_url, place
from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.engine.settings import positive
from sync_pipelines.engine.urls import normalise_url


class NoDatabaseError(ConfigurationError):
    """No variable names a database."""


def value(name: str, environment: Mapping[str, str] | None = None) -> str | None:
    """The variable's value, or None where it is not set or blank."""
    text = (os.environ if environment is None else environment).get(name, "").strip()
    return text or None


def json_object(name: str, *, example: str) -> dict[str, str]:
    """The names and values of a variable that holds a JSON object, as texts; empty where it is not set.

    Args:
        example: what such an object looks like, for the sentence.

    Raises:
        ConfigurationError: it is none, or a value of it is neither text, number, true nor false.
    """
    text, remedy = value(name), f"Write it like {example}."
    try:
        fields = list(json.loads(text).items()) if text else []
    except (ValueError, AttributeError):
        raise ConfigurationError(f"{name} is no JSON object.", remedy=remedy) from None
    if not all(isinstance(content, str | int | float) for _, content in fields):
        raise ConfigurationError(f"{name}: a value of it is neither text nor a number.", remedy=remedy)
    return {key: content if isinstance(content, str) else json.dumps(content) for key, content in fields}


def database_url(connection: str | None = None, *, environment: Mapping[str, str] | None = None) -> str:
    """The URL of a named connection: `<NAME>_DATABASE_URL`, else `DATABASE_URL`, else `POSTGRES_…`.

    Raises:
        ConfigurationError: naming the variables, where none is set, or the one that holds no such URL.
    """
    names = ([f"{connection.upper()}_DATABASE_URL"] if connection else []) + ["DATABASE_URL"]
    for name in names:
        if found := value(name, environment):
            return _read(found, name)
    if built := _from_parts(environment):
        return _read(built, "POSTGRES_HOST and POSTGRES_PORT")
    raise NoDatabaseError(
        f"No database is named: {' and '.join(names)} {'are' if len(names) > 1 else 'is'} not set.",
        remedy=f"Set {names[-1]}, for example postgresql://user:password@host:5432/app.",
    )


def ledger_url(environment: Mapping[str, str] | None = None) -> str:
    """Where the ledger stands: `SYNC_DATABASE_URL`, else the application's `DATABASE_URL`."""
    if own := value("SYNC_DATABASE_URL", environment):
        return _read(own, "SYNC_DATABASE_URL")
    return database_url(environment=environment)


def _read(url: str, name: str) -> str:
    """The URL as it is, after a look at its form: whoever reads it later knows no variable to name."""
    normalise_url(url, name=name)
    whence.note(place(url), name, user=driver_url(url).username or "")
    return url


def sync_schema(environment: Mapping[str, str] | None = None) -> str:
    """The schema of the ledger and the change log: `SYNC_SCHEMA`, else `sync`.

    Raises:
        ConfigurationError: PostgreSQL takes no schema of this name.
    """
    return schema_name(value("SYNC_SCHEMA", environment) or "sync", name="SYNC_SCHEMA")


_SCHEMA_BYTES = 63
"""PostgreSQL cuts longer names off (NAMEDATALEN - 1): two schemas would be one."""


def schema_name(text: str, *, name: str) -> str:
    """The schema's name as it is, after a look at it: whoever asks the database later knows no variable to name.

    Args:
        name: where it comes from (a variable), for the sentence.

    Raises:
        ConfigurationError: PostgreSQL takes no schema of this name.
    """
    if (wrong := _wrong_schema(text)) is None:
        return text
    raise ConfigurationError(f"{name} {wrong}.", remedy="Write a name like sync.")


def _wrong_schema(text: str) -> str | None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:  # bytes of the environment that are no text
        return "is no UTF-8"
    if size > _SCHEMA_BYTES:
        return f"has {size} bytes, and PostgreSQL takes {_SCHEMA_BYTES} at most"
    if text.startswith("pg_"):
        return f"is {text!r}, and PostgreSQL keeps names that begin with pg_ for itself"
    return None


def pool_max(environment: Mapping[str, str] | None = None) -> int:
    """The most connections that one pool opens: `SYNC_DB_POOL_MAX`, else 10."""
    text = value("SYNC_DB_POOL_MAX", environment)
    if text is None:
        return 10
    try:
        return positive(text)
    except ValueError as error:
        raise ConfigurationError(f"SYNC_DB_POOL_MAX is {text!r}: {error}.") from None


def _from_parts(environment: Mapping[str, str] | None) -> str | None:
    host = value("POSTGRES_HOST", environment)
    if host is None:
        return None
    user = quote(value("POSTGRES_USER", environment) or "postgres", safe="")
    password = value("POSTGRES_PASSWORD", environment)
    login = f"{user}:{quote(password, safe='')}" if password else user
    place, host_parameter = _place(host, value("POSTGRES_PORT", environment) or "5432")
    database = quote(value("POSTGRES_DB", environment) or "postgres", safe="")
    schema = value("POSTGRES_SCHEMA", environment)
    parameters = [*host_parameter, *([f"schema={quote(schema, safe='')}"] if schema else [])]
    query = f"?{'&'.join(parameters)}" if parameters else ""
    return f"postgresql://{login}@{place}/{database}{query}"


def _place(host: str, port: str) -> tuple[str, list[str]]:
    """Host and port as they stand in a URL, and the parameter that names a socket's folder instead."""
    if host.startswith("/"):
        return f":{port}", [f"host={quote(host)}"]
    try:
        IPv6Address(host)
    except AddressValueError:
        return f"{host}:{port}", []
    return f"[{quote(host, safe=':')}]:{port}", []  # its colons would be taken for the port's
