"""An S3 server: moto, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.error import URLError

import pytest

from sync_pipelines.sandbox.processes import free_port

BUCKET = "lake"


@contextmanager
def serving() -> Iterator[str]:
    """The address of a server with an empty bucket."""
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(address)
        urllib.request.urlopen(urllib.request.Request(f"{address}/{BUCKET}", method="PUT"), timeout=10).read()
        yield address
    finally:
        server.terminate()
        server.wait(10)


def name_store(address: str, prefix: str, environment: pytest.MonkeyPatch) -> None:
    """DELTA_URI and AWS_… name a place of the test's own in the bucket."""
    values = {
        "DELTA_URI": f"s3://{BUCKET}/{prefix}",
        "AWS_ENDPOINT_URL": address,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "an-id",
        "AWS_SECRET_ACCESS_KEY": "a-secret",
        "AWS_REGION": "us-east-1",
        "AWS_CONDITIONAL_PUT": "etag",
    }
    for name, value in values.items():
        environment.setenv(name, value)


def _wait(address: str) -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(f"{address}/moto-api/", timeout=2).read()
            return
        except (URLError, OSError):
            time.sleep(0.1)
    raise AssertionError("moto did not start")
