"""A Delta table as a target, written by a Databricks SQL warehouse."""
