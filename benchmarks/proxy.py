"""What the one address for all servers costs: `python -m benchmarks proxy [--requests N] [--servers 2] [--turns 8]`.

Real servers of the emulated host, each on some of its eight card groups, answer streamed chats of 64 clients at once,
straight (the servers by turns) and through the API, in turns. A token takes `--token-ms` more than the tiny model
needs, as on cards it does; with 0 the emulator itself takes all processors, and the proxy can only have what is left.
Then one client alone asks, so that nothing waits in a queue: what the proxy adds to the first token by itself.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
from alembic import command
from eventually import eventually

from benchmarks.processor import seconds_by_name
from cli.stack.embedded import free_port
from emulator.installation.install import install
from emulator.tree import Tree
from migrations.__main__ import config
from orchestrator.settings import Settings
from orchestrator.storage.database import Database
from tests.api.proxy.servers import announce
from tests.emulator.desk import Desk, Server

CLIENTS = 64
GROUPS = 8
TOKENS = range(8, 25)
"""Lengths of answers. Were all the same, all groups would be free at once, and one request too many cost a round."""
MODEL = "tiny"


@dataclass(frozen=True)
class Way:
    """Where a client sends its requests, and by which name of the model."""

    bases: Sequence[str]
    model: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Taken:
    """What the turns of one way took."""

    name: str
    rates: list[float] = field(default_factory=list)
    """Requests a second, by turn."""
    first: list[float] = field(default_factory=list)
    """Milliseconds to the first token."""
    alone: list[float] = field(default_factory=list)
    """The same while nobody else asks."""

    def told(self) -> str:
        """One line: the median rate, and first tokens with and without company."""
        rate = f"{self.name:9} median {statistics.median(self.rates):6.1f} requests/s"
        return f"{rate}   first token, 64 clients: {_ranks(self.first)}   one client: {_ranks(self.alone)}"


def _ranks(values: list[float]) -> str:
    return f"p50 {statistics.median(values):6.1f} ms  p95 {statistics.quantiles(values, n=20)[18]:6.1f} ms"


@contextmanager
def servers(folder: Path, count: int, token_ms: int) -> Iterator[list[Server]]:
    """So many servers that share the card groups of one emulated host."""
    work = folder / "work"
    work.mkdir()
    desk = Desk(install(Tree(folder / "tree"), with_driver=True), work)
    desk.convert(f"--backend-model-type qwen2_7b_bf16 --input_model {desk.model}")
    desk.compile(desk.node())
    each = GROUPS // count
    started = []
    try:
        for number in range(count):
            if token_ms:
                for group in range(number * each, (number + 1) * each):
                    desk.fault(group * 4, f"slow {token_ms} after=1")
            first, last = number * each * 4, (number + 1) * each * 4 - 1
            started.append(desk.start_server(cn=f"{first}..{last}"))
        yield [server.ready() for server in started]
    finally:
        for server in started:
            server.gone()


@contextmanager
def proxied(folder: Path, behind: list[Server]) -> Iterator[Way]:
    """The API as a process of its own, with these servers behind it."""
    settings = Settings(state_dir=folder / "state", api_port=free_port(0))
    settings.state_dir.mkdir()
    command.upgrade(config(settings.database), "head")
    database = Database(settings.database)
    for server in behind:
        url = f"http://127.0.0.1:{server.port}"
        announce(database, url, model=MODEL, served_id=server.model, groups=GROUPS // len(behind))
    database.close()
    env = {"TX81_STATE_DIR": str(settings.state_dir), "TX81_API_PORT": str(settings.api_port)}
    api = subprocess.Popen([sys.executable, "-m", "api"], env={**os.environ, **env}, stderr=subprocess.DEVNULL)
    try:
        base = f"http://127.0.0.1:{settings.api_port}"
        eventually(lambda: _answers(f"{base}/health/live"), within=30)
        token = settings.admin_token_file.read_text().strip()
        yield Way([base], MODEL, {"Authorization": f"Bearer {token}"})
    finally:
        api.terminate()
        api.wait()


def _answers(url: str) -> bool:
    try:
        return httpx2.get(url).is_success
    except httpx2.TransportError:
        return False


async def asked(client: httpx2.AsyncClient, way: Way, number: int) -> float:
    """Milliseconds to the first token of one streamed chat that is read to its end."""
    body = {
        "model": way.model, "stream": True, "max_tokens": TOKENS[number * 7 % len(TOKENS)], "ignore_eos": True,
        "messages": [{"role": "user", "content": f"Question {number}: who are you?"}],
    }  # fmt: skip
    url = f"{way.bases[number % len(way.bases)]}/v1/chat/completions"
    began, first, last = time.monotonic(), 0.0, ""
    async with client.stream("POST", url, json=body, headers=way.headers) as answer:
        assert answer.status_code == httpx2.codes.OK, await answer.aread()
        async for line in answer.aiter_lines():
            if not first and '"content"' in line and '"role"' not in line:
                first = time.monotonic()
            last = line or last
    assert last == "data: [DONE]", last
    return (first - began) * 1000


async def load(way: Way, requests: int, clients: int) -> list[float]:
    """First tokens of so many requests, of which each client has one at a time."""
    numbers = iter(range(requests))
    firsts = []
    async with httpx2.AsyncClient(timeout=120, trust_env=False) as client:

        async def ask_on() -> None:
            for number in numbers:
                firsts.append(await asked(client, way, number))

        await asyncio.gather(*(ask_on() for _ in range(clients)))
    return firsts


def turn(taken: Taken, way: Way, requests: int) -> None:
    """Both loads once, and add what they took."""
    began = time.monotonic()
    taken.first += asyncio.run(load(way, requests, CLIENTS))
    taken.rates.append(requests / (time.monotonic() - began))
    taken.alone += asyncio.run(load(way, 16, 1))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks proxy")
    parser.add_argument("--requests", type=int, default=256, help="of one turn")
    parser.add_argument("--servers", type=int, choices=(1, 2, 4, 8), default=2)
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--token-ms", type=int, default=20)
    options = parser.parse_args()
    straight, through = Taken("straight"), Taken("through")
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="tx81-bench-")))
        behind = opened.enter_context(servers(folder, options.servers, options.token_ms))
        direct = Way([f"http://127.0.0.1:{server.port}" for server in behind], behind[0].model)
        proxy = opened.enter_context(proxied(folder, behind))
        before = seconds_by_name()
        for number in range(options.turns):
            for taken, way in ((straight, direct), (through, proxy))[:: 1 if number % 2 else -1]:
                turn(taken, way, options.requests)
        spent = (seconds_by_name() - before)["api"]
    print(straight.told())
    print(through.told())
    ratios = sorted(mine / theirs for mine, theirs in zip(through.rates, straight.rates, strict=True))
    print(
        f"{options.servers} servers: throughput ratio median {statistics.median(ratios):.2f}, from {ratios[0]:.2f} to "
        f"{ratios[-1]:.2f} in {options.turns} turns of {options.requests} requests; "
        f"{spent * 1000 / len(through.first + through.alone):.1f} ms of processor a request"
    )
    for name, mine, theirs in (("64 clients", through.first, straight.first), ("alone", through.alone, straight.alone)):
        added = [statistics.quantiles(mine, n=20)[at] - statistics.quantiles(theirs, n=20)[at] for at in (9, 18)]
        print(f"added to the first token, {name}: p50 {added[0]:.1f} ms, p95 {added[1]:.1f} ms")


if __name__ == "__main__":
    main()
