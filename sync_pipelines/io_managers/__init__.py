"""A target under Dagster; thin."""
