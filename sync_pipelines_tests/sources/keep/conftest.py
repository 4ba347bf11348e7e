"""An empty ledger for the keys of notes."""

from sync_pipelines_tests.engine.conftest import ledger, ledger_database, ledger_url

__all__ = ["ledger", "ledger_database", "ledger_url"]
