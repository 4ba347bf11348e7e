"""`make demo` on a machine where every credential is set: it uses none, shows none, and leaves none in its files."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path
from urllib.parse import quote

import pytest
from rich.console import Console

from sync_pipelines.sandbox import demo
from sync_pipelines.sandbox.story import Story
from sync_pipelines_tests.cli.shop import CHECKOUT
from sync_pipelines_tests.secrets.canaries import DATABASES, canary, contents, hits, values

pytestmark = pytest.mark.slow

FILES: dict[str, bytes] = {}


def one_sync(story: Story) -> None:
    """A full sync, as in the demo's first step."""
    story.sync("full sync", "knowledge/journey_template", full=True)


def look(_: Story) -> None:
    """The sandbox's folder is gone at the end of the demo."""
    FILES.update(contents(Path(os.environ["DAGSTER_HOME"]).parent))


def test_the_demo_prints_and_stores_no_secret(monkeypatch, tmp_path, capfd):
    for variable in DATABASES:
        monkeypatch.setenv(variable, f"postgresql://app:{quote(canary(variable), safe='')}@127.0.0.1:9/app")
    for variable, value in values(chroma="127.0.0.1:9").items():
        monkeypatch.setenv(variable, value)
    shutil.copy(CHECKOUT / "dagster.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "SYNCS", (one_sync, look))
    stream = io.StringIO()
    assert demo.run(Console(file=stream, width=demo.WIDTH)) in (True, False)
    printed = capfd.readouterr()
    said = {"console": stream.getvalue(), "stdout": printed.out, "stderr": printed.err}
    assert hits({**said, **FILES, **contents(tmp_path)}) == []
    assert "full sync" in said["console"]
    assert any("compute_logs" in name for name in FILES)
    assert any(name.endswith("(rows)") for name in FILES)


def test_the_demo_tells_nobody_of_its_alerts(monkeypatch):
    """The receivers are those of the user's own systems."""
    monkeypatch.setenv("NOTIFICATION_WEBHOOK_URL", "https://hooks.example.com/x")
    monkeypatch.setenv("SYNC_ALERT_URLS_OPS", "https://hooks.example.com/y")
    with demo.environment({}):
        assert not [name for name in os.environ if "NOTIFICATION" in name or "ALERT" in name]
