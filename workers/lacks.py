"""What this host lacks for an attempt, distinguished from faults of jobs and cards, and checked again until it is
present."""

from pathlib import Path

from orchestrator.errors import OrchestratorError
from orchestrator.model.lacks import DISK, PORT
from orchestrator.model.profile import Profile
from orchestrator.settings import Settings
from orchestrator.storage.artifacts import StoreFull
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Release
from workers.host import disk, ports
from workers.processes.container import Container, ContainerAway, Mark
from workers.processes.tree import Shim
from workers.toolchain.commands import container_of


class HostLacks(OrchestratorError):
    """This host lacks something that the attempt needs: the job runs elsewhere, or waits until the host has it
    again."""

    code = "host_lacks"

    def __init__(self, name: str, why: str, *, probed: bool = True) -> None:
        """`name` is that of a release, `lacks.DISK` or `lacks.PORT`; one that is not `probed` ends with the worker."""
        super().__init__(why)
        self.name = name
        self.probed = probed


def lack_of(trouble: Exception, settings: Settings, *, release: str, own: Path) -> HostLacks | None:
    """The lack that caused an exception; None if there is none, or if the attempt alone has filled the disk."""
    match trouble:
        case HostLacks():
            return trouble
        case ContainerAway() if release:
            return HostLacks(release, trouble.detail)
        case ports.NoFreePort():
            return HostLacks(PORT, trouble.detail)
        case StoreFull():
            return full_disk(settings, own=own)
        case OSError(errno=number) if number in disk.NO_ROOM:
            return full_disk(settings, own=own)
    return None


def full_disk(settings: Settings, *, own: Path) -> HostLacks | None:
    """The lack of disk space of this host, even without the files in an attempt's own folder; None if it has enough."""
    why = disk.shortage(_written(settings), settings.disk_reserve, own=own)
    return None if why is None else HostLacks(DISK, why)


def still_lacks(name: str, settings: Settings, database: Database, shim: Shim) -> bool:
    """Whether the host still lacks it."""
    if name == DISK:
        return disk.shortage(_written(settings), settings.disk_reserve) is not None
    if name == PORT:
        return not ports.any_free(settings)
    return not _is_usable(name, settings, database, shim)


def _written(settings: Settings) -> tuple[Path, ...]:
    return settings.work, settings.store


def _is_usable(release: str, settings: Settings, database: Database, shim: Shim) -> bool:
    """Whether its folder exists, or its container can be entered."""
    with database.read() as session:
        known = session.get(Release, release)
    if known is None:
        return True
    docker = container_of(Profile.model_validate(known.profile))
    if docker is None:
        return settings.release_roots.get(release, Path(known.root)).is_dir()
    try:
        Container(docker, Mark("", "", ()), entered="/", folder=settings.work, shim=shim).lacking([])
    except ContainerAway:
        return False
    return True
