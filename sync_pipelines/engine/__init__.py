"""How a sync works, without Dagster and without any client library."""
