"""A request, an answer and a refusal, as the routes of the front see them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sync_pipelines.sandbox.databricks.bodies import Body


class Refusal(Exception):
    """An answer other than 200, in Databricks' shape.

    Attributes:
        status: the HTTP status.
        code: Databricks' error_code.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code

    def answer(self) -> Answer:
        """Return it as an answer."""
        return Answer(status=self.status, document={"error_code": self.code, "message": str(self)})


def bad_value(message: str) -> Refusal:
    """Return Databricks' refusal of a parameter."""
    return Refusal(400, "INVALID_PARAMETER_VALUE", message)


@dataclass
class Answer:
    """What goes back.

    Attributes:
        status: the HTTP status.
        document: sent as JSON when it is not None.
        parts: the body in pieces otherwise; ``length`` is the number of bytes in them.
        headers: further headers.
    """

    status: int = 200
    document: Any = None
    parts: Iterable[bytes] = ()
    length: int = 0
    headers: dict[str, str] = field(default_factory=dict)

    def body(self) -> tuple[int, Iterable[bytes]]:
        """Return the length and the pieces of the body."""
        if self.document is None:
            return self.length, self.parts
        text = json.dumps(self.document).encode()
        return len(text), (text,)


@dataclass
class Request:
    """What came in.

    Attributes:
        method: GET, POST, PUT, DELETE or HEAD.
        path: percent-decoded, without the query.
        query: the query's values; of one given twice the last.
        headers: the headers; names in any case.
        stream: the body, which ends where the body ends.
        parts: what the route's pattern caught in the path.
        fault: the fault that meets this request, if any.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    stream: Body
    parts: tuple[str, ...] = ()
    fault: Mapping[str, Any] | None = None

    @cached_property
    def document(self) -> dict[str, Any]:
        """The body as a JSON object; empty where there is none.

        Raises:
            Refusal: when it is not one.
        """
        text = self.stream.read()
        try:
            value = json.loads(text) if text else {}
        except ValueError as error:
            raise Refusal(400, "MALFORMED_REQUEST", f"Could not parse request object: {error}") from error
        if not isinstance(value, dict):
            raise Refusal(400, "MALFORMED_REQUEST", "Could not parse request object: a JSON object is expected.")
        return value

    def wanted(self, name: str) -> Any:
        """Return a value of the JSON body that must be there.

        Raises:
            Refusal: when it is not.
        """
        value = self.document.get(name)
        if value in (None, ""):
            raise bad_value(f"{name} is required.")
        return value


def _path_of(request: Request) -> str:
    return request.path


@dataclass(frozen=True)
class Route:
    """What answers a kind of request.

    Attributes:
        kind: the name by which faults and the log know it.
        method: the HTTP method.
        pattern: the whole path, as a regular expression.
        handle: makes the answer.
        subject: the text that a fault's own text is looked for in.
    """

    kind: str
    method: str
    pattern: re.Pattern[str]
    handle: Callable[[Request], Answer]
    subject: Callable[[Request], str] = _path_of


def route(
    kind: str,
    method: str,
    pattern: str,
    handle: Callable[[Request], Answer],
    subject: Callable[[Request], str] = _path_of,
) -> Route:
    """Return a route; the pattern is compiled and must match the whole path."""
    return Route(kind, method, re.compile(pattern, re.DOTALL), handle, subject)
