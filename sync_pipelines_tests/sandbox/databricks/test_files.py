"""The Files API: files and directories of a Volume, as databricks-sdk reads and writes them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import ClassVar

import pytest
from databricks.sdk.errors import AlreadyExists, DatabricksError, NotFound, PermissionDenied, Unauthenticated

from sync_pipelines.sandbox.databricks.files_api import Volumes
from sync_pipelines.sandbox.databricks.web import Refusal
from sync_pipelines_tests.sandbox.databricks.shared import Schema

pytestmark = pytest.mark.slow


def test_a_file_comes_back_as_it_was_sent_whatever_its_name_is(databricks_schema: Schema) -> None:
    files, place = databricks_schema.client.files, f"{databricks_schema.volume}/new folder/50% ü?#.bin"
    content = bytes(range(256)) * 10_000
    files.upload(place, io.BytesIO(content))
    assert files.download(place).contents.read() == content
    assert files.get_metadata(place).content_length == len(content)
    with pytest.raises(AlreadyExists):
        files.upload(place, io.BytesIO(b"other"), overwrite=False)
    files.upload(place, io.BytesIO(b""), overwrite=True)
    assert files.download(place).contents.read() == b""


def test_an_upload_without_a_length_arrives_whole(databricks_schema: Schema) -> None:
    class Stream(io.RawIOBase):
        pieces: ClassVar[list[bytes]] = [b"one ", b"two ", b"three"]

        def read(self, size: int = -1) -> bytes:
            return self.pieces.pop(0) if self.pieces else b""

    place = f"{databricks_schema.volume}/streamed"
    databricks_schema.client.files.upload(place, Stream())  # type: ignore[arg-type]
    assert databricks_schema.client.files.download(place).contents.read() == b"one two three"


def test_a_directory_is_listed_by_pages_and_removed_once_it_is_empty(databricks_schema: Schema) -> None:
    files, place = databricks_schema.client.files, f"{databricks_schema.volume}/many"
    files.create_directory(f"{place}/inner")
    for number in range(5):
        files.upload(f"{place}/{number}", io.BytesIO(b"x" * number))
    listed = list(files.list_directory_contents(place, page_size=2))
    assert [(entry.name, entry.is_directory, entry.file_size) for entry in listed] == [
        *((str(number), False, number) for number in range(5)),
        ("inner", True, None),
    ]
    with pytest.raises(DatabricksError, match="not empty"):
        files.delete_directory(place)
    files.delete_directory(f"{place}/inner")
    for number in range(5):
        files.delete(f"{place}/{number}")
    files.delete_directory(place)
    with pytest.raises(NotFound):
        files.get_directory_metadata(place)


def test_what_is_not_there_is_not_found_and_that_is_an_error_of_the_system_too(databricks_schema: Schema) -> None:
    files = databricks_schema.client.files
    for place in (f"{databricks_schema.volume}/nothing", f"/Volumes/main/{databricks_schema.name}/nowhere/x"):
        with pytest.raises(NotFound) as caught:
            files.download(place)
        assert isinstance(caught.value, OSError)
    with pytest.raises(NotFound, match="Volume"):
        files.upload(f"/Volumes/main/{databricks_schema.name}/nowhere/x", io.BytesIO(b"x"))
    with pytest.raises(DatabricksError, match="Invalid path"):
        files.upload(f"/Volumes/main/{databricks_schema.name}", io.BytesIO(b"x"))


def test_no_path_leads_out_of_its_volume(tmp_path: Path) -> None:
    volumes = Volumes(tmp_path)
    place = volumes.make("main", "shop", "staging")
    assert volumes.local("/Volumes/main/shop/staging/x") == place / "x"
    with pytest.raises(Refusal, match="Invalid path"):
        volumes.local("/Volumes/main/shop/staging/../../other/staging/x")


def test_a_wrong_token_and_no_token_are_refused(databricks_schema: Schema, monkeypatch: pytest.MonkeyPatch) -> None:
    from dagster_databricks import DatabricksClientResource

    wrong = DatabricksClientResource(host=databricks_schema.server.url, token="wrong").get_client().workspace_client
    with pytest.raises(PermissionDenied, match="Invalid access token"):
        list(wrong.files.list_directory_contents(databricks_schema.volume))
    monkeypatch.setattr(wrong.config, "_header_factory", dict)
    with pytest.raises(Unauthenticated):
        list(wrong.files.list_directory_contents(databricks_schema.volume))
