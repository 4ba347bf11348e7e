"""What Notion answers instead of what was asked for."""

from __future__ import annotations

from typing import Any

MESSAGES = {
    400: ("validation_error", "body failed validation."),
    401: ("unauthorized", "API token is invalid."),
    403: ("restricted_resource", "Insufficient permissions for this endpoint."),
    404: ("object_not_found", "Could not find the object."),
    409: ("conflict_error", "Conflict occurred while saving. Please try again."),
    429: ("rate_limited", "You have been rate limited. Please try again in a few minutes."),
    500: ("internal_server_error", "Unexpected error occurred."),
    502: ("bad_gateway", "Bad gateway."),
    503: ("service_unavailable", "Notion is unavailable. Try again later."),
    504: ("gateway_timeout", "The request timed out."),
    529: ("service_overload", "Notion is overloaded. Please try again later."),
}
"""Code and message by status."""


class Refusal(Exception):
    """An answer with an error in it.

    Attributes:
        status: the HTTP status.
        code: Notion's code.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


def usual(status: int) -> Refusal:
    """The refusal with this status and its usual message."""
    return Refusal(status, *MESSAGES[status])


def invalid(message: str) -> Refusal:
    """A request that Notion does not understand, or that breaks a limit."""
    return Refusal(400, "validation_error", message)


def not_found(kind: str, identity: str) -> Refusal:
    """What is not there, or not shared with the connection: Notion does not say which."""
    return Refusal(404, "object_not_found", f"Could not find {kind.replace('_', ' ')} with ID: {identity}.")


def archived() -> Refusal:
    """An edit of what lies in the trash."""
    return invalid("Can't edit block that is archived. You must unarchive the block before editing.")


def document(status: int, code: str, message: str, request_id: str) -> dict[str, Any]:
    """The body of a refusal."""
    return {"object": "error", "status": status, "code": code, "message": message, "request_id": request_id}


def too_large(request_id: str) -> dict[str, Any]:
    """The body that comes with 413: it is not in the shape of the other errors."""
    return {
        "isNotionError": False,
        "errorId": request_id,
        "name": "PayloadTooLargeError",
        "message": "Request body too large.",
        "code": 413,
    }
