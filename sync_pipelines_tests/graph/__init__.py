"""A graph as a target: the same stories on ArcadeDB and on Neo4j."""
