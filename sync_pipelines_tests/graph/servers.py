"""The two engines of a graph that the tests run on."""

from __future__ import annotations

from sync_pipelines.sandbox.graph.arcadedb import ArcadeServer
from sync_pipelines.sandbox.graph.neo4j import Neo4jServer
from sync_pipelines.sandbox.graph.server import GraphServer

KINDS: dict[str, type[GraphServer]] = {"arcadedb": ArcadeServer, "neo4j": Neo4jServer}
