"""A canary for every credential that the project knows, and the search for what is left of one."""

from __future__ import annotations

import base64
import hashlib
import re
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from sync_pipelines_tests.cli.shop import CHECKOUT

VARIABLE = re.compile(r"^#?([A-Z][A-Z0-9_]*)=", re.M)

DATABASES = ("DATABASE_URL", "SHOP_DATABASE_URL", "KNOWLEDGE_DATABASE_URL", "SYNC_DATABASE_URL", "DAGSTER_POSTGRES_URL")
"""Variables that hold the URL of a database; each gets a role of its own, whose password is the canary."""

TEMPLATES = {
    "POSTGRES_PASSWORD": "{canary}",
    "SYNC_SANDBOX_DATABASE_URL": "postgresql://app:{quoted}@db.example.com:5432/app",
    "CHROMA_TOKEN": "{canary}",
    "CHROMA_HEADERS": '{{"X-Extra": "Bearer {canary}", "X-Other": "{canary}"}}',
    "CHROMA_URL": "http://reader:{quoted}@{chroma}",
    "SYNC_ALERT_URLS": "json://user:{quoted}@127.0.0.1:9/hooks/{canary}?-token={quoted}",
    "SYNC_ALERT_URLS_OPS": "pagerduty://{canary}@{canary}",
    "NOTIFICATION_WEBHOOK_URL": "http://127.0.0.1:9/services/{canary}?sig={quoted}",
    "SYNC_HEARTBEAT_URL": "http://127.0.0.1:9/{canary}",
    "OPENAI_API_KEY": "sk-{canary}",
    "AWS_SECRET_ACCESS_KEY": "{canary}",
    "DATABRICKS_TOKEN": "dapi{canary}",
    "DATABRICKS_ACCESS_TOKEN": "dapi{canary}",
    "DATABRICKS_CLIENT_SECRET": "{canary}",
    "DELTA_STORAGE_OPTIONS": '{{"AWS_SECRET_ACCESS_KEY": "{canary}", "AWS_REGION": "eu-central-1"}}',
    "NEO4J_PASSWORD": "{canary}",
    "CUPID_API_KEY": "{canary}",
    "SYNC_ENCRYPTION_KEYS": "{canary}",
    "LEAKY_PROVIDER": "{canary}",
}
"""Every other variable that holds a secret. The name `LEAKY_PROVIDER` tells nothing: a provider's config names it."""

NO_SECRETS = set(
    re.findall(
        r"\w+",
        """SYNC_SCHEMA POSTGRES_HOST POSTGRES_PORT POSTGRES_DB POSTGRES_USER POSTGRES_SCHEMA SYNC_DB_POOL_MAX
    CHROMA_PATH DELTA_URI DATABRICKS_HOST DATABRICKS_SERVER_HOSTNAME DATABRICKS_HTTP_PATH
    DATABRICKS_SCOPE DATABRICKS_CLUSTER_ID DATABRICKS_JDBC_CONNECTION
    DATABRICKS_CLIENT_ID DATABRICKS_CATALOG DATABRICKS_SCHEMA DATABRICKS_VOLUME
    NEO4J_URI NEO4J_USER NEO4J_DATABASE SYNC_RETRY_MAX SYNC_POLL_INTERVAL
    NOTION_BASE_URL KEEP_API_URL KEEP_AUTH_URL KEEP_MEDIA_URL NOTES_RATE_LIMIT
    CUPID_BASE_URL SYNC_INTERVAL SYNC_INTERVAL_MINUTES SYNC_ENABLE_AUTO SYNC_RATE_LIMIT SYNC_MAX_CONCURRENT
    SYNC_RETRY_ATTEMPTS SYNC_REQUESTS_A_DAY SYNC_PATIENCE HOTELS_REVIEW_COUNT HOTELS_LANG
    CHROMA_TENANT CHROMA_DATABASE SYNC_BATCH_SIZE KNOWLEDGE_BATCH_SIZE SYNC_TIMEZONE
    SYNC_PRICE_HOUR SYNC_PRICE_WAREHOUSE_HOUR SYNC_PRICE_MILLION_TOKENS
    SYNC_SPOOL_DIR SYNC_LOG_LEVEL SYNC_LOG_FILE SYNC_UI_URL DAGSTER_HOME
    SYNC_SANDBOX_DIR SYNC_SANDBOX_GRAPH SYNC_DEV_PORT""",
    )
)
"""The variables of .env.example that hold none."""


def known_variables() -> set[str]:
    """Every variable that .env.example names."""
    return set(VARIABLE.findall((CHECKOUT / ".env.example").read_text(encoding="utf-8")))


def digest(name: str) -> str:
    return hashlib.sha256(f"canary of {name}".encode()).hexdigest()[:24]


def canary(name: str) -> str:
    """The secret of a variable. A password has what must be escaped in a URL; a piece of a path has not."""
    found = digest(name)
    in_path = name in TEMPLATES and name not in ("POSTGRES_PASSWORD", "SYNC_SANDBOX_DATABASE_URL", "CHROMA_URL")
    return f"Cy-{found}" if in_path else f"{found[:12]}/@ {found[12:]}"


def values(*, chroma: str) -> dict[str, str]:
    """The variables of `TEMPLATES` with their canaries.

    Args:
        chroma: host and port.
    """
    return {
        name: template.format(canary=canary(name), quoted=quote(canary(name), safe=""), chroma=chroma)
        for name, template in TEMPLATES.items()
    }


def pieces() -> Iterator[tuple[str, str]]:
    """What to look for: a part of a canary is found in whatever spelling, and where a text was cut."""
    for name in (*DATABASES, *TEMPLATES):
        found = digest(name)
        yield from ((name, found[start : start + 8]) for start in (0, 4, 12, 16))
    for user, name in (("user", "SYNC_ALERT_URLS"), ("reader", "CHROMA_URL")):
        yield name, base64.b64encode(f"{user}:{canary(name)}".encode()).decode()[-20:-4]


def hits(texts: Mapping[str, str | bytes]) -> list[str]:
    """Where which canary stands, with what is around it."""
    found = []
    for place, text in texts.items():
        content = text.encode() if isinstance(text, str) else text
        lower = content.lower()
        for name, piece in pieces():
            at = lower.find(piece.lower().encode())
            if at >= 0:
                found.append(f"{name} in {place}: …{content[max(at - 120, 0) : at + 40]!r}…")
    return found


def contents(*folders: Path) -> dict[str, bytes]:
    """Every file below these folders, and every cell of every SQLite database: some are compressed."""
    texts: dict[str, bytes] = {}
    for path in (path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()):
        texts[str(path)] = path.read_bytes()
        if texts[str(path)].startswith(b"SQLite format 3"):
            texts[f"{path} (rows)"] = b"\n".join(_cells(path))
    return texts


def _cells(path: Path) -> Iterator[bytes]:
    with closing(sqlite3.connect(path)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for row in connection.execute(f'SELECT * FROM "{table}"'):
                yield from (cell for value in row for cell in _plain(value))


def _plain(value: object) -> Iterable[bytes]:
    if not isinstance(value, bytes):
        return [str(value).encode(errors="replace")]
    try:
        return [value, zlib.decompress(value)]
    except zlib.error:
        return [value]
