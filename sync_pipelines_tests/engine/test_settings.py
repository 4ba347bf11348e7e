"""Which of the places that may hold a value decides."""

from __future__ import annotations

import pytest

from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.engine.settings import positive, resolve

PLACES = {"run_config": 1, "stored": "2", "KNOWLEDGE_BATCH_SIZE": "3", "SYNC_BATCH_SIZE": "4", "yaml": 5}


def value(places: dict[str, object]) -> int:
    environment = {name: str(text) for name, text in places.items() if name.isupper()}
    return resolve(
        "batch_size",
        sync="knowledge",
        parse=positive,
        default=6,
        run_config=places.get("run_config"),
        stored=places.get("stored"),
        environment=environment,
        yaml=places.get("yaml"),
    )


@pytest.mark.parametrize("given", range(6))
def test_the_order_is_run_config_settings_own_variable_common_variable_yaml_default(given):
    assert value(dict(list(PLACES.items())[given:])) == given + 1


def test_nonsense_names_its_place():
    with pytest.raises(ConfigurationError, match="KNOWLEDGE_BATCH_SIZE is 'ten'"):
        value({"KNOWLEDGE_BATCH_SIZE": "ten"})


def test_a_blank_variable_is_no_value():
    assert value({"KNOWLEDGE_BATCH_SIZE": " ", "yaml": 5}) == 5
