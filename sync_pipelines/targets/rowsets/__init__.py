"""Documents in PostgreSQL: each gives rows of one or more tables, compared field by field and written together."""
