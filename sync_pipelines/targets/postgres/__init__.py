"""A table of an application in PostgreSQL as a target: nobody's table is altered."""
