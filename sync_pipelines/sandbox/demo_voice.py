"""The demo of `voice`, the whole circle: submissions reach the lakehouse, are analysed there, and the analyses return.

Both tables are proven after every step.
"""

from __future__ import annotations

import os

from rich.table import Table

from sync_pipelines.sandbox import analysis, application
from sync_pipelines.sandbox.demo_knowledge import execute
from sync_pipelines.sandbox.story import Story
from sync_pipelines.targets.delta.settings import DeltaSettings

SUBMISSIONS, ANALYSES = "voice/voice_submissions", "voice/ai_analyses"

_FOUND = """
SELECT s.file_name, s.language, a.sentiment, a.sentiment_score, array_to_string(a.topics, ', ')
FROM ai_analyses AS a JOIN voice_submissions AS s ON s.id = a.submission_id
ORDER BY abs(a.sentiment_score) DESC, s.file_name LIMIT 5
"""


def tell(story: Story) -> None:
    """Once around with everything, once with what has changed, and a full sync that finds nothing to do."""
    story.tell("voice: PostgreSQL → Delta → analysis → PostgreSQL")
    story.sync("full sync", SUBMISSIONS, full=True)
    done = _analyse(story)
    line = story.sync("full sync", ANALYSES, full=True)
    story.expect("analyses in PostgreSQL", (line.counts.upserted, line.proof.target_count), (done.analysed,) * 2)
    _show(story)
    changed = _change_the_application()
    line = story.sync("incremental", SUBMISSIONS)
    story.expect("records upserted", line.counts.upserted, changed["rewritten"] + changed["inserted"])
    story.expect("records deleted", line.counts.deleted, changed["deleted"])
    again = _analyse(story)
    story.expect("analysed and removed", (again.analysed, again.removed), (line.counts.upserted, changed["deleted"]))
    back = story.sync("incremental", ANALYSES)
    story.expect("analyses upserted", back.counts.upserted, again.analysed)
    whole = story.sync("full again", SUBMISSIONS, full=True)
    story.expect("records written when nothing changed", whole.counts.upserted, 0)


def _analyse(story: Story) -> analysis.Done:
    """What runs in the lakehouse, at its own times."""
    done = analysis.run(DeltaSettings(uri=os.environ["DELTA_URI"]))
    story.console.print(f"analysis job: {done.analysed} submissions analysed, {done.removed} analyses removed")
    return done


def _show(story: Story) -> None:
    shown = Table(title="SELECT … FROM ai_analyses JOIN voice_submissions")
    for name in ("submission", "language", "sentiment", "score", "topics"):
        shown.add_column(name)
    with application.transaction(os.environ["DATABASE_URL"]) as cursor:
        cursor.execute(_FOUND)
        for row in cursor.fetchall():
            shown.add_row(*map(str, row))
    story.console.print(shown)


def _change_the_application() -> dict[str, int]:
    """One row comes, two change without a new updated_at, one goes and takes its analysis along; how many of each."""
    counts = execute(
        [
            (
                """INSERT INTO voice_submissions
                    (id, user_id, file_path, file_name, file_size, mime_type, language, transcription)
                SELECT gen_random_uuid(), user_id, 'recordings/demo.m4a', 'demo.m4a', 1024, 'audio/mp4', 'en', %s
                FROM voice_submissions LIMIT 1""",
                ("Thank you, the wonderful reading list has arrived, and my daughter loves it.",),
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
