"""Notion as a target under Dagster: the change sets of its users are written, one after the other."""

from __future__ import annotations

from typing import Any

import dagster as dg

from sync_pipelines.io_managers.each import Each, write_each


class NotionIOManager(dg.ConfigurableIOManager):
    """Writes the pages of each user whom a run was asked for. Assets downstream name it in `deps`: nothing is read."""

    def handle_output(self, context: dg.OutputContext, obj: Each) -> None:
        if not isinstance(obj, Each):
            raise dg.Failure(
                f"{context.asset_key.to_user_string()}: an asset with this IO manager returns the runs of its users, "
                f"not {type(obj).__name__}.",
                allow_retries=False,
            )
        write_each(context, obj)

    def load_input(self, context: dg.InputContext) -> Any:
        raise dg.Failure(
            f"{context.asset_key.to_user_string()}: pages of Notion are no input. Name the asset in `deps`.",
            allow_retries=False,
        )
