"""Why an event was refused; the sentence names the entity and what to do."""

from __future__ import annotations


class PublishError(Exception):
    """An event that was not published.

    Where PostgreSQL refused it, the caller's transaction has failed and is to be rolled back; what is refused while a
    `SyncEvent` is made has touched no transaction.

    Args:
        message: what is wrong, one sentence that names the entity.
        remedy: what to do next, one sentence.
    """

    def __init__(self, message: str, *, remedy: str = "") -> None:
        self.message, self.remedy = message, remedy
        super().__init__(f"{message} {remedy}".strip())


class InvalidEventError(PublishError, ValueError):
    """The event is nonsense: an unknown type, an id that is missing, a payload that is no object of JSON."""


class PayloadTooLargeError(InvalidEventError):
    """The payload is larger than `MAX_PAYLOAD_BYTES`."""


class VersionConflictError(PublishError):
    """The version is not above the last one that was published of this entity."""


class EventIdConflictError(PublishError):
    """The event_id is that of another event: of another entity, or of another type."""


class NotInstalledError(PublishError):
    """The database has no `publish_event`, or this role may not execute it."""
