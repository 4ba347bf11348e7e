"""A table that nothing knows becomes a sync by one YAML document in a copy of the checkout, without any Python."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sync_pipelines_tests.dagster.deployment import REPOSITORY
from sync_pipelines_tests.sql import execute

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

DOCUMENT = """\
type: sync_pipelines.PostgresToChroma
attributes:
  sync: warehouse
  source: {connection: warehouse, table: Stock Item, key: [site, number], changed_at: touched}
  target: {collection: stock_items}
  text: [label, notes]
  metadata: [amount, site]
  embedding: {name: hash, dimensions: 32}
"""

DDL = """
CREATE TABLE "Stock Item" (site integer, number integer, label text, notes text, amount numeric(8, 2),
    touched timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (site, number));
INSERT INTO "Stock Item" VALUES (1, 1, 'copper kettle', 'whistles', 19.50), (1, 2, 'woollen blanket', NULL, 42),
    (2, 1, 'garden hose', 'twenty metres', 7.25)
"""


@dataclass(frozen=True)
class Checkout:
    """A copy of the checkout with one folder more."""

    folder: Path
    environment: Mapping[str, str]

    @property
    def document(self) -> Path:
        return self.folder / "sync_pipelines" / "defs" / "warehouse" / "defs.yaml"

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=180, check=False
        )

    def dg(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run(str(Path(sys.executable).with_name("dg")), *words)

    def sync_pipelines(self, *words: str) -> Any:
        """What a command of the console script answers as JSON."""
        done = self.run(sys.executable, "-m", "sync_pipelines.cli", *words, "--json")
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return json.loads(done.stdout)


@pytest.fixture
def checkout(database_url: str, chroma_database: str, tmp_path: Path) -> Checkout:
    """The copy, with the application's database, in which the new table stands beside the known ones."""
    folder = tmp_path / "checkout"
    # with its bytecode, so that it starts sooner; a file of it that is being written goes while it is copied
    ignored = shutil.ignore_patterns("*.pyc.*")
    shutil.copytree(REPOSITORY / "sync_pipelines", folder / "sync_pipelines", ignore=ignored)
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(REPOSITORY / "pyproject.toml", folder)
    shutil.copy(REPOSITORY / "dagster.yaml", home)
    execute(database_url, DDL)
    given = {"PYTHONPATH": str(folder), "DATABASE_URL": database_url, "DAGSTER_HOME": str(home), "COLUMNS": "200"}
    made = Checkout(folder=folder, environment={**os.environ, **given})
    made.document.parent.mkdir()
    made.document.write_text(DOCUMENT)
    return made


def test_a_new_table_gets_everything_that_the_known_ones_have(checkout: Checkout, database_url: str):
    listed = json.loads(checkout.dg("list", "defs", "--json").stdout)
    names = {kind: {item.get("name") or item.get("key") for item in items} for kind, items in listed.items()}
    assert checkout.dg("check", "yaml", str(checkout.document.parent)).returncode == 0
    assert "warehouse/stock_item" in {item["asset_key"] for item in listed["assets"]}
    assert {f"warehouse_{mode}_schedule" for mode in ("incremental", "full", "check")} <= names["schedules"]
    assert {f"warehouse_{job}" for job in ("incremental", "full", "check", "records", "plan")} <= names["jobs"]
    assert "warehouse__stock_item_changes" in names["sensors"]
    checkout.sync_pipelines("capture", "install", "warehouse")
    assert checkout.sync_pipelines("health", "--connect")["status"] == "healthy"
    [run] = checkout.sync_pipelines("sync", "warehouse")["runs"]
    assert (run["status"], run["counts"]["upserted"], run["proof"]["equal"]) == ("completed", 3, True)
    execute(database_url, """UPDATE "Stock Item" SET amount = 5 WHERE site = 2""")
    execute(database_url, """DELETE FROM "Stock Item" WHERE number = 2""")
    [run] = checkout.sync_pipelines("sync", "warehouse")["runs"]
    done = {name: run["counts"][name] for name in ("metadata_only", "deleted", "embedded_texts")}
    assert done == {"metadata_only": 1, "deleted": 1, "embedded_texts": 0}
    [hit] = checkout.sync_pipelines("search", "warehouse", "a hose for the garden", "--limit", "1")["hits"]
    assert (hit["key"], hit["text"]) == ('["2", "1"]', "garden hose\n\ntwenty metres")
    assert hit["metadata"] == {"amount": 5.0, "site": 2}
    status = json.dumps(checkout.sync_pipelines("status", "warehouse", "--live"))
    assert "stock_item" in status


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("  metadata: [amount, site]", "  metdata: [amount, site]", "defs.yaml:7"),
        pytest.param("key: [site, number]", "kei: [site, number]", "defs.yaml:4", marks=pytest.mark.exhaustive),
        pytest.param("dimensions: 32", "dimensions: [32]", "defs.yaml:8", marks=pytest.mark.exhaustive),
    ],
    ids=["unknown field", "missing field", "wrong type"],
)
def test_dg_check_yaml_names_a_wrong_field_by_its_line(checkout: Checkout, right: str, wrong: str, said: str):
    folder = str(checkout.document.parent)
    checkout.document.write_text(DOCUMENT.replace(right, wrong))
    done = checkout.dg("check", "yaml", folder)
    assert done.returncode == 1
    assert said in done.stdout
    assert wrong.split(":")[0].split("[")[0].strip() in done.stdout


def test_a_wrong_document_is_one_sentence_with_field_file_and_line_in_every_command(checkout: Checkout):
    # the first of two documents: dagster 1.13's `dg check yaml` looks at the last one of each type alone
    other = DOCUMENT.replace("warehouse", "storehouse").replace("stock_items", "store_items")
    checkout.document.write_text(DOCUMENT.replace("metadata", "metdata") + "---\n" + other)
    done = checkout.run(sys.executable, "-m", "sync_pipelines.cli", "status")
    assert done.returncode == 3
    place = checkout.document.relative_to(checkout.folder)
    assert f"{place}:7: metdata: there is no such field; did you mean 'metadata'?" in done.stderr
    assert "Traceback" not in done.stderr
    checkout.document.write_text(DOCUMENT + "---\n" + DOCUMENT)
    done = checkout.run(sys.executable, "-m", "sync_pipelines.cli", "sync", "warehouse")
    assert done.returncode == 3
    assert "Two documents define warehouse/stock_item" in done.stderr


@pytest.mark.exhaustive
def test_a_document_under_another_name_is_an_error_of_lint(checkout: Checkout):
    assert checkout.run(sys.executable, "-m", "sync_pipelines.strays").returncode == 0
    stray = checkout.document.with_name("stock.yaml")
    checkout.document.rename(stray)
    done = checkout.run(sys.executable, "-m", "sync_pipelines.strays")
    assert done.returncode == 1
    assert str(stray) in done.stderr
    health = checkout.run(sys.executable, "-m", "sync_pipelines.cli", "health", "--connect")
    assert health.returncode == 1
    assert "stock.yaml" in health.stdout + health.stderr


def test_health_finds_a_wrong_table_and_column_and_offers_the_nearest_name(checkout: Checkout):
    wrong = DOCUMENT.replace("Stock Item", "Stok Item")
    checkout.document.write_text(wrong)
    done = checkout.run(sys.executable, "-m", "sync_pipelines.cli", "health", "--connect")
    assert done.returncode == 1
    assert "Did you mean 'Stock Item'?" in done.stdout + done.stderr
    checkout.document.write_text(DOCUMENT.replace("[label, notes]", "[label, note]"))
    done = checkout.run(sys.executable, "-m", "sync_pipelines.cli", "health", "--connect")
    assert "Did you mean 'notes'?" in done.stdout + done.stderr
