"""The demo of `voice`: submissions reach the lakehouse, and stay equal there."""

from __future__ import annotations

from sync_pipelines.sandbox.demo_knowledge import execute
from sync_pipelines.sandbox.story import Story

SUBMISSIONS = "voice/voice_submissions"


def tell(story: Story) -> None:
    """Full sync, changes and an incremental sync, a full one that finds nothing to do."""
    story.tell("voice: PostgreSQL → Delta")
    story.sync("full sync", SUBMISSIONS, full=True)
    changed = _change_the_application()
    line = story.sync("incremental", SUBMISSIONS)
    story.expect("records upserted", line.counts.upserted, changed["rewritten"] + changed["inserted"])
    story.expect("records deleted", line.counts.deleted, changed["deleted"])
    again = story.sync("full again", SUBMISSIONS, full=True)
    story.expect("records written when nothing changed", again.counts.upserted, 0)


def _change_the_application() -> dict[str, int]:
    """One row comes, two change (one without a new updated_at), one goes; how many of each."""
    counts = execute(
        [
            (
                """INSERT INTO voice_submissions (id, user_id, file_path, file_name, file_size, mime_type, language)
                SELECT gen_random_uuid(), user_id, 'recordings/demo.m4a', 'demo.m4a', 1024, 'audio/mp4', 'en'
                FROM voice_submissions LIMIT 1""",
                (),
            ),
            (
                """UPDATE voice_submissions SET status = 'archived' WHERE id IN
                (SELECT id FROM voice_submissions WHERE file_name <> 'demo.m4a' ORDER BY created_at LIMIT 2)""",
                (),
            ),
            (
                """DELETE FROM voice_submissions WHERE id =
                (SELECT id FROM voice_submissions WHERE file_name <> 'demo.m4a' ORDER BY created_at DESC LIMIT 1)""",
                (),
            ),
        ],
        connection="voice",
    )
    return {"inserted": counts[0], "rewritten": counts[1], "deleted": counts[2]}
