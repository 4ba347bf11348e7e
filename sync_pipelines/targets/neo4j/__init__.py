"""A property graph over Bolt (Neo4j, ArcadeDB) as a target: nodes and relationships, kept equal to their source."""
