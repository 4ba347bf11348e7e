"""Secret scopes: kept in memory alone, and given to whoever carries the token, as to a task's `dbutils.secrets`."""

from __future__ import annotations

import base64
import threading
from collections.abc import Sequence

from sync_pipelines.sandbox.databricks.web import Answer, Refusal, Request, Route, route

_API = "/api/2.0/secrets"


class SecretsApi:
    """The routes of secret scopes."""

    def __init__(self) -> None:
        """Begin without any."""
        self._lock = threading.Lock()
        self._scopes: dict[str, dict[str, str]] = {}

    def routes(self) -> Sequence[Route]:
        """Return the routes."""
        return (
            route("secrets", "POST", f"{_API}/scopes/create", self._create),
            route("secrets", "POST", f"{_API}/scopes/delete", self._delete),
            route("secrets", "POST", f"{_API}/put", self._put),
            route("secrets", "GET", f"{_API}/get", self._get),
        )

    def _create(self, request: Request) -> Answer:
        name = request.wanted("scope")
        with self._lock:
            if name in self._scopes:
                raise Refusal(400, "RESOURCE_ALREADY_EXISTS", f"Scope {name} already exists!")
            self._scopes[name] = {}
        return Answer(document={})

    def _delete(self, request: Request) -> Answer:
        with self._lock:
            if self._scopes.pop(request.wanted("scope"), None) is None:
                raise _no_scope(request.wanted("scope"))
        return Answer(document={})

    def _put(self, request: Request) -> Answer:
        value = request.wanted("string_value")
        with self._lock:
            self._scope(request.wanted("scope"))[request.wanted("key")] = value
        return Answer(document={})

    def _get(self, request: Request) -> Answer:
        name, key = request.query.get("scope", ""), request.query.get("key", "")
        with self._lock:
            value = self._scope(name).get(key)
        if value is None:
            raise Refusal(404, "RESOURCE_DOES_NOT_EXIST", f"Secret does not exist with scope: {name} and key: {key}")
        return Answer(document={"key": key, "value": base64.b64encode(value.encode()).decode()})

    def _scope(self, name: str) -> dict[str, str]:
        found = self._scopes.get(name)
        if found is None:
            raise _no_scope(name)
        return found


def _no_scope(name: str) -> Refusal:
    return Refusal(404, "RESOURCE_DOES_NOT_EXIST", f"Scope {name} does not exist!")
