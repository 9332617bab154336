"""What every route works with: opened once at start, handed in, never a global."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from api.proxy.relay import Proxy
from api.streams.wakeups import WakeUps
from orchestrator.batches.submit import BatchSubmission
from orchestrator.catalog.file_imports import FileImports
from orchestrator.catalog.golden_imports import GoldenImports
from orchestrator.catalog.kcore_imports import KcoreImports
from orchestrator.catalog.registry import Registry
from orchestrator.catalog.uploads import Uploads
from orchestrator.handover.bundle import Bundles
from orchestrator.settings import Settings
from orchestrator.slots.canaries import Canaries
from orchestrator.slots.provisioning import Provisioning
from orchestrator.storage.artifacts import ArtifactStore
from orchestrator.storage.database import Database
from orchestrator.submission.submit import Submission
from orchestrator.suites.definitions import Definitions
from orchestrator.suites.runs import SuiteRuns
from orchestrator.suites.side_by_side import AbRuns
from orchestrator.suites.triage import Triages


@dataclass(frozen=True)
class Context:
    """The collaborators of the routes."""

    settings: Settings
    database: Database
    store: ArtifactStore
    submission: Submission
    batches: BatchSubmission
    registry: Registry
    canaries: Canaries
    files: FileImports
    kcores: KcoreImports
    goldens: GoldenImports
    provisioning: Provisioning
    suites: Definitions
    suite_runs: SuiteRuns
    ab_runs: AbRuns
    uploads: Uploads
    bundles: Bundles
    triages: Triages
    wakeups: WakeUps
    proxy: Proxy


def context_of(request: Request) -> Context:
    """The context of the application that answers this request."""
    context = request.app.state.context
    assert isinstance(context, Context)
    return context


Given = Annotated[Context, Depends(context_of)]
