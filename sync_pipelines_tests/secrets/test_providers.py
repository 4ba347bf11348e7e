"""The keys of every embedding provider that Chroma knows are hidden, whatever its error says."""

from __future__ import annotations

import inspect
from importlib import import_module

import pytest

from sync_pipelines.engine import secrets


def variables() -> list[str]:
    """The variables from which the functions of Chroma's registry take their keys by default."""
    import_module("sync_pipelines.targets.embedding_functions")
    from chromadb.utils.embedding_functions import known_embedding_functions

    kinds = [kind for kind in known_embedding_functions.values() if kind.__module__.startswith("chromadb.")]
    parameters = [item for kind in kinds for item in _parameters(kind)]
    return sorted({item.default for item in parameters if item.name.endswith("_env_var") and item.default})


def _parameters(kind: type) -> list[inspect.Parameter]:
    return list(inspect.signature(kind).parameters.values())


def test_the_registry_names_the_variables_of_its_keys():
    assert "CHROMA_OPENAI_API_KEY" in variables()
    assert len(variables()) > 10


@pytest.mark.parametrize("variable", [*variables(), "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"])
def test_the_key_of_a_provider_is_hidden(monkeypatch, variable):
    monkeypatch.setenv(variable, "canary-of-a-provider")
    assert secrets.hide_known("nobody is called canary-of-a-provider") == "nobody is called ***"
