"""A port for one server, free when it is chosen and not given to another server of this host meanwhile."""

import os
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from orchestrator.errors import BadSpec, OrchestratorError
from orchestrator.settings import Settings
from workers.host import locks

_NAME = "port-{port}.lock"


class NoFreePort(OrchestratorError):
    """Every port that servers may have is taken on this host."""

    code = "no_free_port"


@contextmanager
def reserved(settings: Settings, *, owner: str, port: int | None = None) -> Iterator[int]:
    """That port, or one of `settings.serve_ports`, for the block; BadSpec if it is in use, NoFreePort if all are.

    Workers keep each other away by a lock. Another process may still take the port before the server binds it, minutes
    later perhaps: that shows in what the server prints.
    """
    first, last = settings.serve_ports
    # Not one after the other: servers that start together would all want the same one.
    candidates = random.sample(range(first, last + 1), last + 1 - first) if port is None else [port]
    for candidate in candidates:
        try:
            lock = locks.take(settings.locks / _NAME.format(port=candidate), owner=owner)
        except locks.Held:
            continue
        try:
            if _is_free(candidate):
                yield candidate
                return
        finally:
            os.close(lock)
    if port is not None:
        raise BadSpec(f"port {port} is in use on {settings.host}: stop what listens there, or omit port", field="port")
    raise NoFreePort(f"no port from {first} to {last} is free on {settings.host}; see TX81_SERVE_PORTS")


def any_free(settings: Settings) -> bool:
    """Whether a server could have a port of this host now."""
    try:
        with reserved(settings, owner="a probe"):
            return True
    except NoFreePort:
        return False


def established(port: int) -> int:
    """How many connections to that port of this host stand now, as the kernel reports; those of any address."""
    return sum(row[3] == _ESTABLISHED and _port(row[1]) == port for row in _connections())


def listens_openly(port: int) -> bool:
    """Whether something listens on that port at an address that other machines may reach, as the kernel reports.

    False as well if it is in a network of its own, as in some containers."""
    return any(row[3] == _LISTEN and _port(row[1]) == port and not _is_loopback(row[1]) for row in _connections())


def _connections() -> Iterator[list[str]]:
    """The rows of the kernel's tables, in words: number, local address, remote address, state, …"""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        # A kernel without IPv6 has no such table.
        with suppress(OSError), open(table, encoding="ascii", errors="replace") as told:
            next(told, None)
            yield from (row for line in told if len(row := line.split()) > 3)


_ESTABLISHED, _LISTEN = "01", "0A"
"""`TCP_ESTABLISHED` and `TCP_LISTEN` in the kernel's `include/net/tcp_states.h`, in hexadecimal."""


def _is_loopback(address: str) -> bool:
    """Of `0100007F:4E20`: each four bytes in the order of the processor, which is little-endian on all of our hosts."""
    host = address.partition(":")[0]
    mapped = host.removeprefix("0000000000000000FFFF0000")
    return (len(mapped) == 8 and mapped.endswith("7F")) or host == "00000000000000000000000001000000"


def _port(address: str) -> int:
    """Of `0100007F:4E20`."""
    return int(address.rpartition(":")[2], 16)


def _is_free(port: int) -> bool:
    """Whether it could be listened on at every address: a server may choose any."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
        try:
            trial.bind(("", port))
        except OSError:
            return False
        return True
