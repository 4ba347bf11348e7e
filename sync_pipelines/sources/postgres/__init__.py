"""PostgreSQL as a source: change capture by trigger or cursor, consistent snapshots, streamed Arrow batches."""
