"""Publishing events from an application, in its own transactions; nothing of Dagster and no driver is loaded.

    publisher = OutboxPublisher()
    with connection, connection.cursor() as cursor:
        cursor.execute("UPDATE concept SET title = %s WHERE id = %s", (title, key))
        publisher.publish_content_updated(cursor, entity_type="concept", entity_id=key, payload={"title": title})

The folder is a distribution of its own, `sync-pipelines-publisher`, so that an application need not install the
orchestrator: it imports nothing of `sync_pipelines` but itself.
"""

from sync_pipelines.publisher.errors import (
    EventIdConflictError,
    InvalidEventError,
    NotInstalledError,
    PayloadTooLargeError,
    PublishError,
    VersionConflictError,
)
from sync_pipelines.publisher.events import MAX_PAYLOAD_BYTES, EventType, SyncEvent, relationship
from sync_pipelines.publisher.outbox import OutboxPublisher

__all__ = [
    "MAX_PAYLOAD_BYTES",
    "EventIdConflictError",
    "EventType",
    "InvalidEventError",
    "NotInstalledError",
    "OutboxPublisher",
    "PayloadTooLargeError",
    "PublishError",
    "SyncEvent",
    "VersionConflictError",
    "relationship",
]
