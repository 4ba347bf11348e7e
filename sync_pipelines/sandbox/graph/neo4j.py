"""Neo4j Community as a child process, for tests beside ArcadeDB: it needs Java, and Maven at its first start."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path
from typing import ClassVar

from sync_pipelines.sandbox import java
from sync_pipelines.sandbox.folders import PRIVATE, make_folder
from sync_pipelines.sandbox.graph.server import GraphServer
from sync_pipelines.sandbox.processes import LOOPBACK

VARIABLE = "SYNC_NEO4J_JARS"
"""Names another folder for the jars than the user's cache."""

_VERSION = "5.26.30"  # the long-term release that runs on Java 17
_JAVA = 17
_ROUNDS = 1024

_FOREIGN = ("NEO4J_", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS")
"""Variables that belong to another Neo4j, or change what is asked of Java here."""

_CONFIGURATION = """\
server.default_listen_address={host}
server.bolt.enabled=true
server.bolt.listen_address={host}:{port}
server.bolt.advertised_address={host}:{port}
server.http.enabled=false
server.https.enabled=false
dbms.security.auth_enabled=true
dbms.usage_report.enabled=false
server.memory.pagecache.size=64m
db.tx_log.preallocate=false
db.tx_log.rotation.size=16m
internal.dbms.bolt.netty_server_shutdown_quiet_period=0
internal.dbms.bolt.netty_server_shutdown_timeout=1s
internal.server.bolt.thread_pool_shutdown_wait_time=1s
"""
"""The last three lines: it stops within a second instead of eleven."""

_OPTIONS = (
    *("-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dlog4j2.disable.jmx=true"),
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
    "--add-opens=java.base/java.io=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
)


class Neo4jServer(GraphServer):
    """One Neo4j Community, of which nothing is distributed: GPL, fetched by whoever runs the tests."""

    name: ClassVar[str] = "Neo4j"

    def _prepare(self) -> None:
        self._java = java.java(_JAVA, needed_by=self.name)
        self._jars = java.built_once(java.cache("neo4j", variable=VARIABLE) / f"neo4j-{_VERSION}", _fetch)
        make_folder(self.folder / "home" / "conf", PRIVATE)
        self._make_password()
        _write_login(self.folder / "home" / "data" / "dbms", self.user, self.password)

    def _command(self, port: int) -> list[str]:
        home = self.folder / "home"
        (home / "conf" / "neo4j.conf").write_text(_CONFIGURATION.format(host=LOOPBACK, port=port))
        program = ["-cp", f"{self._jars}/*", "org.neo4j.server.CommunityEntryPoint"]
        return [self._java, *_OPTIONS, *program, f"--home-dir={home}", f"--config-dir={home / 'conf'}"]

    def _environment(self) -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}


def _write_login(folder: Path, user: str, password: str) -> None:
    """The first login, as Neo4j keeps it; it is read before the first start alone."""
    file = make_folder(folder, PRIVATE) / "auth.ini"
    if file.exists():
        return
    salt = secrets.token_bytes(32)
    digest = hashlib.sha256(salt + password.encode()).digest()
    for _ in range(_ROUNDS - 1):
        digest = hashlib.sha256(digest).digest()
    file.touch(0o600)
    file.write_text(f"{user}:SHA-256,{digest.hex()},{salt.hex()},{_ROUNDS}:\n")


def _fetch(folder: Path) -> None:
    java.require(("mvn",), needed_by=Neo4jServer.name)
    file = folder / "pom.xml"
    # without what reports its use to its makers
    file.write_text(java.pom([("org.neo4j", "neo4j", _VERSION)], without=[("org.neo4j", "neo4j-udc")]))
    options = ["-B", "-q", "-ntp", "-f", str(file), f"-DoutputDirectory={folder}", "-DincludeScope=runtime"]
    java.run("mvn", [*options, java.COPY], "The jars of Neo4j could not be fetched")
