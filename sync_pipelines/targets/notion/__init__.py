"""A Notion database as a target, a page a record."""
