"""Whether the API answers while somebody tries to occupy it: `python -m benchmarks hostile [--connections N]`.

One API process on SQLite. First, half-open connections: a part of a request and then nothing; each that the API closes
is opened again, until as many as asked for have been opened. Then bodies that cost the most to read, each posted by two
clients without a pause, with a token of scope `inference`. Meanwhile other processes send `GET /health/live`, and,
beside the connections, `GET /v1/models`, each on a new connection every 20 ms. A line has the number of answers 200, of
probes without one, and milliseconds from connect to the last byte. Everything stays on loopback (127.0.0.0/8).

Each client process opens at most as many connections as its hard limit of descriptors allows. The slowest probe depends
on what else the machine does: each part is repeated, and the lines name its load.
"""

import argparse
import http.client
import multiprocessing
import os
import re
import resource
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path

from cli.stack.embedded import free_port
from orchestrator.model.scopes import Scope
from orchestrator.storage.database import Database
from orchestrator.tokens import make

PROMISED_MS = 200
"""What a health probe may take while bodies are read."""
_BODY = 7_800_000
"""Bytes; the API takes 8 MiB (`TX81_MAX_BODY_BYTES`)."""
_EACH_CLIENT = 5000
"""Connections of one client process."""
_SPARE = 100
"""Descriptors of a client process for everything else."""
_PATIENCE = 120.0
"""Seconds after which no more connections are opened."""
_APART = 0.02
_GIVE_UP = 10.0
"""Seconds after which a probe has no answer."""
_HALF = b"GET /api/v1/jobs HTTP/1.1\r\nHost: x\r\nX-Slow: "
_fork = multiprocessing.get_context("fork")


def bodies() -> dict[str, bytes]:
    """What is posted, by name."""
    keys = b",".join(b'"%d":1' % number for number in range(500_000))
    return {
        "3.9 M numbers": b'{"messages":[' + b"1," * (_BODY // 2) + b"1]}",
        "500,000 keys": b"{" + keys + b"}",
        "deep brackets": b"[" * _BODY,
        "one long string": b'{"model":"' + b"x" * _BODY + b'"}',
        "escapes": b'{"model":"' + b"\\u00e4" * (_BODY // 6) + b'"}',
        "quotes that do not end": b"[" * 65 + b'"' + b'\\"' * (_BODY // 2),
        "a long number": b'{"max_tokens":' + b"9" * _BODY + b"}",
    }


@dataclass
class Api:
    """A running API."""

    port: int
    pid: int
    token: str

    def peak_memory(self) -> float:
        """The most memory it has had, in MiB."""
        found = re.search(r"^VmHWM:\s+(\d+)", Path(f"/proc/{self.pid}/status").read_text(), re.MULTILINE)
        assert found is not None
        return int(found[1]) / 1024


@dataclass
class Probes:
    """Milliseconds of the probes that were answered, and the number of the others."""

    took: list[float] = field(default_factory=list)
    unanswered: int = 0

    def told(self) -> str:
        """One line."""
        if len(self.took) < 2:
            return f"{len(self.took)} answered, {self.unanswered} not"
        last = statistics.quantiles(self.took, n=100)[98]
        return (
            f"{len(self.took):5} probes, {self.unanswered} unanswered   p50 {statistics.median(self.took):6.1f}   "
            f"p99 {last:6.1f}   slowest {max(self.took):6.1f} ms"
        )


@contextmanager
def api() -> Iterator[Api]:
    """An API with an empty database of its own."""
    with tempfile.TemporaryDirectory(prefix="tx81-bench-") as name:
        state, port = Path(name) / "state", free_port(0)
        env = {**os.environ, "TX81_STATE_DIR": str(state), "TX81_API_PORT": str(port)}
        for variable in ("TX81_DATABASE_URL", "TX81_DATABASE_URL_FILE", "TX81_API_HOST"):
            env.pop(variable, None)
        subprocess.run([sys.executable, "-P", "-m", "migrations"], env=env, check=True)
        with (Path(name) / "api.log").open("wb") as log:
            process = subprocess.Popen([sys.executable, "-P", "-m", "api"], env=env, stdout=log, stderr=log)
        try:
            _await_answer(port)
            database = Database(f"sqlite:///{state}/tx81.db")
            token = make(database, "hostile", (Scope.INFERENCE,))
            database.close()
            yield Api(port, process.pid, token)
        finally:
            process.terminate()
            process.wait()


def _await_answer(port: int) -> None:
    deadline = time.monotonic() + 60
    while _probe(port) is None:
        if time.monotonic() > deadline:
            raise SystemExit("the API did not start within 60 s")
        time.sleep(0.1)


@contextmanager
def probing(port: int, path: str = "/health/live", token: str = "") -> Iterator[Probes]:
    """Probe from another process during the block; the result is filled in after it."""
    found, over = Probes(), _fork.Event()
    mine, theirs = _fork.Pipe(duplex=False)
    process = _fork.Process(target=_probe_until, args=(port, path, token, over, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield found
    finally:
        over.set()
        found.took, found.unanswered = mine.recv()
        process.join()


def _probe_until(port: int, path: str, token: str, over: Event, result: Connection) -> None:
    took: list[float] = []
    unanswered = 0
    while not over.wait(_APART):
        milliseconds = _probe(port, path, token)
        if milliseconds is None:
            unanswered += 1
        else:
            took.append(milliseconds)
    result.send((took, unanswered))


def _probe(port: int, path: str = "/health/live", token: str = "") -> float | None:
    """Milliseconds until a whole answer 200; None without one."""
    began = time.perf_counter()
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_GIVE_UP)
        try:
            headers = {"Connection": "close", "Authorization": f"Bearer {token}"}
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            answer.read()
        finally:
            connection.close()
    except (OSError, http.client.HTTPException):
        return None
    return (time.perf_counter() - began) * 1000 if answer.status == 200 else None


# ── half-open connections ─────────────────────────────────────────────────────────────────────────────────────────────


def occupied(api: Api, *, connections: int, seconds: float) -> tuple[Probes, Probes, int, int]:
    """Probes of health and of a route while so many connections are half open; how often one was opened, and how many
    were open at the end."""
    clients = [min(_EACH_CLIENT, connections - at) for at in range(0, connections, _EACH_CLIENT)]
    barrier = _fork.Barrier(len(clients) + 1)
    pipes, processes = [], []
    for number, count in enumerate(clients):
        mine, theirs = _fork.Pipe(duplex=False)
        arguments = (api.port, f"127.0.0.{number + 2}", count, seconds, barrier, theirs)
        process = _fork.Process(target=_hold_open, args=arguments, daemon=True)
        process.start()
        theirs.close()
        pipes.append(mine)
        processes.append(process)
    with probing(api.port) as health, probing(api.port, "/v1/models", api.token) as route:
        barrier.wait()
        reports = [pipe.recv() for pipe in pipes]
    for process in processes:
        process.join()
    return health, route, sum(opened for opened, _ in reports), sum(still for _, still in reports)


def _hold_open(port: int, address: str, count: int, seconds: float, barrier: Barrier, result: Connection) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    held: dict[int, socket.socket] = {}
    watch, opened = select.epoll(), 0
    barrier.wait()
    began = time.monotonic()
    while (past := time.monotonic() - began) < seconds or (opened < count and past < _PATIENCE):
        for _ in range(min(100, count - len(held))):
            with suppress(OSError):
                fresh = socket.create_connection(("127.0.0.1", port), timeout=1, source_address=(address, 0))
                fresh.sendall(_HALF)
                held[fresh.fileno()] = fresh
                watch.register(fresh, select.EPOLLIN | select.EPOLLHUP)
                opened += 1
        for number, _ in watch.poll(0.01):
            held.pop(number).close()  # closed by the API: opened again in the next round
    result.send((opened, len(held)))
    for each in held.values():
        each.close()


def most_connections(wanted: int) -> int:
    """What the descriptors of the client processes allow of it, and a line if that is less."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard == resource.RLIM_INFINITY or hard >= _EACH_CLIENT + _SPARE:
        return wanted
    clients = -(-wanted // _EACH_CLIENT)
    allowed = min(wanted, clients * max(1, hard - _SPARE))
    print(f"the hard limit of {hard} descriptors a process allows {allowed} of {wanted} connections")
    return allowed


# ── bodies ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def posted(api: Api, body: bytes, *, seconds: float) -> tuple[Probes, Mapping[int, int]]:
    """Probes while one body is posted again and again by two clients; the answers by status."""
    ends = time.monotonic() + seconds
    with probing(api.port) as found:
        pipes = []
        for _ in range(2):
            mine, theirs = _fork.Pipe(duplex=False)
            _fork.Process(target=_post_until, args=(api, body, ends, theirs), daemon=True).start()
            theirs.close()
            pipes.append(mine)
        answers: dict[int, int] = {}
        for pipe in pipes:
            for status, count in pipe.recv().items():
                answers[status] = answers.get(status, 0) + count
    return found, answers


def _post_until(api: Api, body: bytes, ends: float, result: Connection) -> None:
    answers: dict[int, int] = {}
    headers = {"Authorization": f"Bearer {api.token}", "Content-Type": "application/json"}
    while time.monotonic() < ends:
        connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=60)
        try:
            connection.request("POST", "/v1/chat/completions", body, headers)
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException):
            status = 0
        finally:
            connection.close()
        answers[status] = answers.get(status, 0) + 1
    result.send(answers)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks hostile")
    parser.add_argument("--connections", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=10, help="of each part")
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    connections = most_connections(asked.connections)
    slowest: dict[str, list[float]] = {}
    for turn in range(asked.repeats):
        with api() as running:
            load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"
            print(f"turn {turn + 1}, {load}")
            with probing(running.port) as quiet:
                time.sleep(min(3.0, asked.seconds))
            print(f"  {'nothing else':24} {quiet.told()}")
            health, route, opened, still = occupied(running, connections=connections, seconds=asked.seconds)
            print(f"  {f'{opened} half-open':24} {health.told()}   at most {still} of them open at the end")
            print(f"  {'  GET /v1/models':24} {route.told()}")
            slowest.setdefault("half-open", []).append(max(health.took, default=float("inf")))
            for name, body in bodies().items():
                found, answers = posted(running, body, seconds=asked.seconds)
                print(f"  {name:24} {found.told()}   answers {answers}")
                slowest.setdefault(name, []).append(max(found.took, default=float("inf")))
            print(f"  memory of the API at most {running.peak_memory():.0f} MiB", flush=True)
    for name, each in slowest.items():
        kept = "" if name == "half-open" or min(each) < PROMISED_MS else f"   more than the promised {PROMISED_MS} ms"
        print(f"{name:24} slowest probe: quietest turn {min(each):6.1f} ms, worst {max(each):6.1f} ms{kept}")


if __name__ == "__main__":
    main()
