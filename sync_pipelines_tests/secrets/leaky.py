"""A provider whose errors quote the key, in whatever words; and the shop's articles embedded by it."""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.parse import quote

import numpy as np
from chromadb import EmbeddingFunction
from chromadb.utils.embedding_functions import register_embedding_function

from sync_pipelines_tests.dagster.project import article, definitions

KEY, HOW = "LEAKY_PROVIDER", "LEAKY_HOW"

SENTENCES = {
    "provided": "Incorrect API Key provided: {key}. See https://x.example/?key={quoted}",
    "received": "Received API Key = {key}",
    "json": "Error code: 401 - {escaped}",
    "bare": "nobody is called {key} or {upper} here",
    "long": "refused " + "x" * 460 + " {key} {key}",
}
"""What a provider may say; the last one is cut in the middle of the key where it is cut at 500 characters."""


class LeakyError(Exception):
    """A provider's error."""

    def __init__(self, status: int, sentence: str) -> None:
        key = os.environ[KEY]
        spelled = {"quoted": quote(key), "escaped": json.dumps({"message": f"no key {key}"}), "upper": key.upper()}
        super().__init__(sentence.format(key=key, **spelled))
        self.status_code = status


@register_embedding_function
class Leaky(EmbeddingFunction):
    """Embeds, unless `LEAKY_HOW` names a sentence: then it refuses (401), or refuses a text with POISON (400)."""

    def __init__(self, api_key_env_var: str = KEY) -> None:
        self.variable = api_key_env_var

    def __call__(self, input: list[str]) -> list[Any]:
        how = os.environ.get(HOW, "")
        if how in SENTENCES:
            raise LeakyError(401, SENTENCES[how])
        for text in input:
            if "POISON" in text:
                raise LeakyError(400, f"bad text {text!r}: Received API Key = {{key}}")
        return [np.ones(8, dtype=np.float32) * (len(text) % 7 + 1) for text in input]

    def embed_query(self, input: list[str]) -> list[Any]:
        return self(input)

    @staticmethod
    def name() -> str:
        return "leaky"

    def get_config(self) -> dict[str, Any]:
        return {"api_key_env_var": self.variable}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> Leaky:
        return Leaky(**config)

    def default_space(self) -> str:
        return "cosine"


def loaded() -> tuple[Any, Any]:
    """What `sync_pipelines.definitions.load` gives, of articles that the leaky provider embeds."""
    component = article(
        text=["body"], embedding={"name": "leaky", "config": {"api_key_env_var": KEY}}, alerts={"channels": ["ops"]}
    )
    return definitions(component), (component,)


def open_leaky() -> None:
    """Put it in the place of what stands below `defs/`, in this process."""
    import sync_pipelines.definitions as project

    found = loaded()
    project.load = lambda *_: found
