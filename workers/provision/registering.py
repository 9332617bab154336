"""The step that registers what was installed: from then on jobs can name the release."""

from pathlib import Path

from orchestrator.catalog.profile_files import load_profile
from orchestrator.catalog.registry import Registry, ReleaseRequest, release_digest
from orchestrator.errors import BadSpec, OrchestratorError
from orchestrator.model.provision import REGISTER, ProvisionSpec
from orchestrator.settings import Settings
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Release
from workers.provision.outcomes import Outcome, StepState

TITLE = "Register the release"


def refuse_another_installation(settings: Settings, database: Database, spec: ProvisionSpec) -> None:
    """BadSpec, before anything is changed, if the release's name stands for tools in another folder."""
    known = _known(database, spec.release)
    if known is not None and known.root != spec.root and not _said_here(settings, spec):
        raise BadSpec(
            f"release {spec.release} is registered at {known.root}; install it there, or choose another name, or set "
            f"{spec.root} in TX81_RELEASE_ROOTS of this host",
            field="release",
        )


def register(settings: Settings, database: Database, spec: ProvisionSpec) -> Outcome:
    """Register the release, of a dry run only look whether it is, and say how it went; again, it changes nothing."""
    known = _known(database, spec.release)
    if spec.dry_run:
        return Outcome(REGISTER, TITLE, StepState.WOULD_DO if known is None else StepState.DONE_BEFORE)
    try:
        if known is not None and _said_here(settings, spec):
            _require_same_build(settings, spec, known)
        else:
            request = ReleaseRequest(name=spec.release, profile=spec.profile, root=spec.root)
            Registry(settings, database).register_release(request)
    except OrchestratorError as refused:
        return Outcome(REGISTER, TITLE, StepState.FAILED, refused.detail)
    return Outcome(REGISTER, TITLE, StepState.DONE if known is None else StepState.DONE_BEFORE)


def _known(database: Database, name: str) -> Release | None:
    with database.read() as session:
        return session.get(Release, name)


def _said_here(settings: Settings, spec: ProvisionSpec) -> bool:
    """Whether this host says itself that it has the release in that folder."""
    named = settings.release_roots.get(spec.release)
    return named is not None and named.resolve() == Path(spec.root)


def _require_same_build(settings: Settings, spec: ProvisionSpec, known: Release) -> None:
    if release_digest(load_profile(settings, spec.profile), Path(spec.root)) != known.digest:
        raise BadSpec(f"the build at {spec.root} is not the registered {spec.release}")
