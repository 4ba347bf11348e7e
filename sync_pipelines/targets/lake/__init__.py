"""What every lakehouse target shares: how a PostgreSQL type is stored, and how values are converted."""
