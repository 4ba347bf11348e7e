"""Graph databases over Bolt: ArcadeDB, which comes from PyPI, and Neo4j itself, which Maven fetches."""
