"""Which paths of the server a request may name, and how a path is shown in an error."""

import os
from pathlib import Path

from orchestrator.errors import PathRefused
from orchestrator.settings import Settings


def allowed_path(settings: Settings, text: str, field: str) -> Path:
    """`text` with every link resolved, if that lies under an allowed root; else PathRefused.

    What lies elsewhere is answered alike, whether it exists or not. A hard link below a root is a file below that root:
    the user who made it could read the file, and the kernel lets nobody else make one (`fs.protected_hardlinks`)."""
    if ".." in Path(text).parts:
        raise PathRefused(f"{text} contains '..'; give the path itself", field=field)
    if not _is_allowed(settings, text):
        raise _outside(settings, text, field)
    try:
        path = Path(text).resolve(strict=True)
    except (OSError, RuntimeError) as trouble:
        raise PathRefused(f"{text} cannot be read: {reason(trouble)}", field=field) from None
    if not settings.may_read(path):
        raise _outside(settings, text, field)
    if shown(str(path)) != str(path):
        raise PathRefused(f"{text} is a link to a name that is not UTF-8; rename it", field=field)
    return path


def _is_allowed(settings: Settings, text: str) -> bool:
    """Whether it is below a root, as far as its links lead anywhere."""
    try:
        path = Path(text).resolve()
    except (OSError, RuntimeError):  # a loop of links: told only to those who could read there
        path = Path(os.path.normpath(text))
        roots = [*settings.readable_roots, *settings.allowed_roots, settings.models]
        return any(path.is_relative_to(root) for root in roots)
    return settings.may_read(path)


def allowed_target(settings: Settings, text: str, field: str) -> Path:
    """A folder of a host, with what links of it are seen from here resolved, if that lies under an allowed root; it
    need not be there."""
    try:
        path = Path(text).resolve()
    except (OSError, RuntimeError) as trouble:
        raise PathRefused(f"{text} cannot be read: {reason(trouble)}", field=field) from None
    if ".." in Path(text).parts or shown(str(path)) != str(path):
        raise PathRefused(f"{text} contains '..' or a name that is not UTF-8; give the path itself", field=field)
    if not any(path.is_relative_to(root) for root in settings.readable_roots):
        raise _outside(settings, text, field, of_a_host=True)
    return path


def _outside(settings: Settings, text: str, field: str, *, of_a_host: bool = False) -> PathRefused:
    roots = [str(root.resolve()) for root in settings.allowed_roots]
    if settings.start_folder is not None and not of_a_host:
        roots.append(f"{settings.start_folder.resolve()} without hidden names and the state folder")
    allowed = ", ".join(roots) or "none is configured"
    return PathRefused(f"{text} is not under an allowed root ({allowed}); see TX81_ALLOWED_ROOTS", field=field)


def shown(name: str) -> str:
    """A file's name as text that can be written anywhere, whatever its bytes."""
    return os.fsencode(name).decode("utf-8", "replace")


def reason(trouble: Exception) -> str:
    """Why, in the system's words, without the path."""
    return getattr(trouble, "strerror", None) or str(trouble)
