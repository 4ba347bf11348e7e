"""Statements over `sync_quarantine` and `sync_record_events`, which tell each change of the one in the other.

`{quarantine}` and `{events}` are the tables' quoted names.
"""

from __future__ import annotations

from sync_pipelines.engine.model import RETRIED, UNDELETED

# A row that is not there is what it was, whatever keeps its record in the target and however that is put: the words
# of a database change with its version, its language, and the way its address is spelled.
_CHANGED = f"""CASE WHEN old.fingerprint IS NOT NULL AND excluded.fingerprint IS NOT NULL
    THEN old.fingerprint <> excluded.fingerprint
    WHEN old.stage = '{UNDELETED}' THEN excluded.stage <> old.stage
    ELSE (old.reason, old.stage) IS DISTINCT FROM (excluded.reason, excluded.stage) END"""

_RETRIED = ", ".join(f"'{stage}'" for stage in RETRIED)
_STILL_WAITS = f"(old.stage IN ({_RETRIED}) AND excluded.stage = old.stage AND NOT ({_CHANGED}))"

# An attempt and its event count once a run: a transaction whose answer got lost is sent again.
QUARANTINE = f"""
WITH given AS (
    SELECT record_key, reason, stage, fingerprint, parent::jsonb AS waits_for
    FROM unnest(:keys, :reasons, :stages, :fingerprints, :parents) AS g (record_key, reason, stage, fingerprint, parent)
), written AS (
    INSERT INTO {{quarantine}} AS old
        (sync_type, table_name, record_key, reason, stage, fingerprint, waits_for, run_id)
    SELECT :sync, :table, record_key, reason, stage, fingerprint, waits_for, :run_id FROM given
    ON CONFLICT (sync_type, table_name, record_key) DO UPDATE SET
        reason = excluded.reason,
        stage = excluded.stage,
        fingerprint = excluded.fingerprint,
        waits_for = excluded.waits_for,
        run_id = excluded.run_id,
        first_seen = CASE WHEN old.dropped_at IS NULL THEN old.first_seen ELSE now() END,
        last_seen = now(),
        attempts = CASE WHEN old.dropped_at IS NOT NULL THEN 1
                        WHEN old.run_id = excluded.run_id OR {_STILL_WAITS} THEN old.attempts
                        ELSE old.attempts + 1 END,
        dropped_at = NULL
    WHERE (old.dropped_at IS NULL OR {_CHANGED})
        -- a record that waits for another one is tried by each run: that is no other attempt
        AND NOT (old.dropped_at IS NULL AND {_STILL_WAITS}
            AND (old.waits_for, old.reason) IS NOT DISTINCT FROM (excluded.waits_for, excluded.reason))
    RETURNING record_key
)
INSERT INTO {{events}} (sync_type, table_name, record_key, event, stage, reason, run_id)
SELECT :sync, :table, record_key, 'failed', stage, reason, :run_id FROM given JOIN written USING (record_key)
WHERE NOT EXISTS (
    SELECT FROM {{events}} AS known
    WHERE known.sync_type = :sync AND known.table_name = :table AND known.record_key = given.record_key
        AND known.event = 'failed' AND known.run_id = :run_id
)
"""

SETTLE = """
WITH gone AS (
    DELETE FROM {quarantine}
    WHERE sync_type = :sync AND table_name = :table AND record_key = ANY(:keys)
    RETURNING record_key, stage
)
INSERT INTO {events} (sync_type, table_name, record_key, event, stage, run_id)
SELECT :sync, :table, record_key, 'recovered', stage, :run_id FROM gone
"""

DROP = """
WITH dropped AS (
    UPDATE {quarantine} SET dropped_at = now()
    WHERE sync_type = :sync AND table_name = :table AND dropped_at IS NULL
        AND (:every OR record_key = ANY(:keys))
    RETURNING record_key, stage, reason
), noted AS (
    INSERT INTO {events} (sync_type, table_name, record_key, event, stage, reason, run_id)
    SELECT :sync, :table, record_key, 'dropped', stage, reason, '' FROM dropped
)
SELECT record_key FROM dropped ORDER BY record_key
"""
