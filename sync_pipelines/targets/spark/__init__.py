"""Databricks as a target of tables that outgrow one machine: a Spark job reads PostgreSQL and merges."""
