"""Where a release is installed on this host.

A release is registered with one folder, and most hosts have it there. A host that has it elsewhere sets
TX81_RELEASE_ROOTS; the build there must be the same, because results are stored under the registered one.
"""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from orchestrator.catalog.registry import release_digest
from orchestrator.model.assignments import Assignment
from orchestrator.model.profile import Profile
from orchestrator.settings import Settings
from workers.lacks import HostLacks
from workers.toolchain.commands import container_of
from workers.toolchain.profiles import profile_of


def here(assignment: Assignment, settings: Settings) -> Assignment:
    """The assignment with its release's folder on this host; HostLacks if there is another build, or none."""
    named = settings.release_roots.get(assignment.release)
    if named is None:
        _require_folder(assignment)
        return assignment
    found = _digest(named, profile_of(assignment.profile).model_dump_json())
    if found != assignment.release_digest:
        why = (
            f"{settings.host} has no release {assignment.release} at {named}: the build there differs from the one "
            f"registered; install that build there, or correct TX81_RELEASE_ROOTS of this host"
        )
        # The process caches what was found there.
        raise HostLacks(assignment.release, why, probed=False)
    return replace(assignment, root=str(named))


def _require_folder(assignment: Assignment) -> None:
    """Tools in a container are not searched on the host."""
    in_container = container_of(profile_of(assignment.profile)) is not None if assignment.profile else True
    if not in_container and not Path(assignment.root).is_dir():
        why = f"release {assignment.release} is not at {assignment.root} on this host: install it, or mount that folder"
        raise HostLacks(assignment.release, why)


@lru_cache(maxsize=32)
def _digest(folder: Path, profile: str) -> str:
    """Read once per process: workers have to be restarted after other tools are installed."""
    return release_digest(Profile.model_validate_json(profile), folder)
