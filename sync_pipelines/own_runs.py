"""Which of an instance's runs are this project's: another code location may share the instance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import dagster as dg

AD_HOC = "__ASSET_JOB"
"""What every code location calls the runs of assets and checks that somebody chose in the UI."""


def job_names(repository: dg.RepositoryDefinition) -> frozenset[str]:
    """The names that are this code location's alone: `__ASSET_JOB` is everybody's, and Dagster names it here, too."""
    return frozenset(name for name in repository.job_names if not name.startswith(AD_HOC))


@dataclass(frozen=True, kw_only=True)
class Ours:
    """What of the instance is ours, by name.

    Args:
        jobs: the names of our jobs, see `job_names`.
    """

    assets: frozenset[dg.AssetKey]
    checks: frozenset[dg.AssetCheckKey]
    jobs: frozenset[str]

    @classmethod
    def of(cls, repository: dg.RepositoryDefinition) -> Ours:
        """What this code location defines."""
        graph = repository.asset_graph
        return cls(
            assets=frozenset(graph.get_all_asset_keys()),
            checks=frozenset(graph.asset_check_keys),
            jobs=job_names(repository),
        )

    def has(self, run: dg.DagsterRun) -> bool:
        """Whether this is a run of ours: by its job's name, or of an ad-hoc one by what it was asked for."""
        return self.selects(run) if run.job_name.startswith(AD_HOC) else run.job_name in self.jobs

    def selects(self, run: dg.DagsterRun) -> bool:
        """Whether it was asked for some assets or checks, and all of them are ours."""
        assets, checks = run.asset_selection or frozenset(), run.asset_check_selection or frozenset()
        return bool(assets or checks) and assets <= self.assets and checks <= self.checks
