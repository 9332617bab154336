"""Two sides that run the same short vendor process on eight workers: this product, and bare Celery.

Both use the same broker, the same Celery settings and the same C program (`answer.c`), which notes in a ledger when it
began and ended. Bare Celery keeps no record, watches no limit and stores nothing: it is the floor, not a rival.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from celery import Celery
from postgres import running_postgres

from api.client.client import Client
from api.documents.slots import Presence
from cli.stack.embedded import free_port
from cli.stack.stack import broker_socket, broker_url, embedded
from cli.stack.supervisor import Supervisor
from orchestrator.broker import create_app
from orchestrator.model.slots import CARDS_PER_HOST
from orchestrator.model.specs import JobRequest, PipelineRequest
from orchestrator.model.states import FINAL, JobState

HERE = Path(__file__).parent
GROUPS = 8
LEDGER_LINE = 40
"""Bytes of a line in a ledger: one line a process."""
BULK = 1000
"""Jobs that one request may hold."""

_UNDER_WAY = [state.value for state in JobState if state not in FINAL]


@dataclass(frozen=True)
class Side:
    """One of the two that are compared: where its processes note what they did, a ledger a worker."""

    ledgers: Path

    def done(self) -> int:
        """How many processes have come to their end."""
        return sum(file.stat().st_size for file in self.ledgers.glob("ledger-*")) // LEDGER_LINE

    def await_done(self, wanted: int) -> None:
        """Return when so many processes have ended since the beginning."""
        while self.done() < wanted:
            time.sleep(0.005)

    def spans(self) -> dict[str, list[tuple[int, int]]]:
        """When each process began and ended, by ledger, in nanoseconds."""
        return {
            file.name: sorted((int(line[:19]), int(line[20:])) for line in file.read_text().splitlines())
            for file in sorted(self.ledgers.glob("ledger-*"))
        }


@dataclass(frozen=True)
class Ours(Side):
    """The embedded stack: API, dispatcher, eight workers."""

    client: Client
    infer: JobRequest

    def submit(self, milliseconds: Sequence[int]) -> None:
        """Submit a job for each process of so many milliseconds."""
        requests = [
            self.infer.model_copy(update={"spec": self.infer.spec.model_copy(update={"max_tokens": duration})})
            for duration in milliseconds
        ]
        for at in range(0, len(requests), BULK):
            self.client.submit_many(requests[at : at + BULK])

    def await_ended(self, processes: int) -> None:
        """Return when so many processes have ended, and SQL has the end of every job."""
        self.await_done(processes)
        while self.client.jobs(state=_UNDER_WAY, limit=1).items:
            time.sleep(0.02)

    def check(self, submitted: int) -> None:
        """Fail unless every job has succeeded."""
        states = Counter(job.state for job in self.client.all_jobs(kind="infer"))
        assert states == {JobState.SUCCEEDED: submitted}, states


@dataclass(frozen=True)
class Bare(Side):
    """Eight workers with one task that starts a process and waits for it."""

    app: Celery
    program: Path

    def submit(self, milliseconds: Sequence[int]) -> None:
        """Send a task for each process of so many milliseconds."""
        for duration in milliseconds:
            self.app.send_task("bare.answer", args=(str(self.program), str(self.ledgers), duration), queue="bare")

    def await_ended(self, processes: int) -> None:
        """Return when so many processes have ended; nobody keeps more of them."""
        self.await_done(processes)


def bare_app(url: str) -> Celery:
    """The settings are this product's own, the task is as Celery's users write it."""
    app = create_app(url)

    @app.task(name="bare.answer")  # type: ignore[untyped-decorator]
    def answer(program: str, ledgers: str, milliseconds: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            command = [program, f"{ledgers}/ledger-{os.getpid()}", str(milliseconds), f"{folder}/answers.jsonl"]
            subprocess.run(command, check=True)

    return app


@contextmanager
def both(database: str) -> Iterator[tuple[Ours, Bare]]:
    """The two sides, ready; `database` is `sqlite` or `postgresql`."""
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="tx81-bench-")))
        program = folder / "tools" / "bin" / "answer"
        program.parent.mkdir(parents=True)
        subprocess.run(["gcc", "-O2", f"-DLINE={LEDGER_LINE}", "-o", program, HERE / "answer.c"], check=True)
        url = ""
        if database == "postgresql":
            url = f"postgresql+psycopg://postgres@/postgres?host={opened.enter_context(running_postgres())}"
        ours = opened.enter_context(_our_side(folder, program, url))
        yield ours, opened.enter_context(_bare_side(folder, program))


@contextmanager
def _our_side(folder: Path, program: Path, database_url: str) -> Iterator[Ours]:
    state = folder / "state"
    (folder / "cards").mkdir()
    model = shutil.copytree(HERE.parent / "emulator" / "samples" / "tiny" / "model", folder / "model")
    prompts = folder / "prompts.txt"
    prompts.write_text("?\n")
    port = free_port(0)
    for card in range(CARDS_PER_HOST):
        (folder / "cards" / f"dev-{card}").touch()  # A card without a node is one that is gone.
    env = {
        "TX81_STATE_DIR": str(state),
        "TX81_DATABASE_URL": database_url,
        "TX81_ALLOWED_ROOTS": json.dumps([str(folder)]),
        "TX81_PROFILE_DIRS": json.dumps([str(HERE / "profiles")]),
        "TX81_DEVICES_DIR": str(folder / "cards"),
        "TX81_HOST": "bench",
    }
    state.mkdir()
    subprocess.run([sys.executable, "-m", "migrations"], check=True, env={**os.environ, **env}, capture_output=True)
    services = embedded(env, state, sys.executable, groups=GROUPS, flower_port=None, api_port=port)
    with Supervisor(services, folder / "logs", lambda event: None):
        token = (state / "admin-token").read_text().strip()
        with Client(f"http://127.0.0.1:{port}", token) as client:
            client.register_release("short", "short", str(program.parents[1]), default=True)
            client.register_model("nothing", str(model))
            _await_slots(client)
            yield Ours(program.parent, client, _an_inference(client, prompts))


def _await_slots(client: Client) -> None:
    while sum(slot.presence is Presence.ALIVE for slot in client.slots()) <= GROUPS:
        time.sleep(0.1)


def _an_inference(client: Client, prompts: Path) -> JobRequest:
    """A request that can be sent again and again: its kernel image is built, its prompts are stored."""
    kcore = {"job": "compile", "artifact": "kcore"}
    spec = {"kind": "infer", "model": "nothing", "kcore": kcore, "prompts": {"path": str(prompts)}, "max_tokens": 1}
    convert = {"kind": "convert", "model": "nothing", "backend_type": "nothing"}
    source = {"job": "convert", "artifact": "c_source"}
    jobs = {
        "convert": {"spec": convert},
        "compile": {"spec": {"kind": "compile", "c_source": source}},
        "infer": {"spec": spec},
    }
    request = PipelineRequest.model_validate({"name": "nothing", "jobs": jobs})
    made = {job.name: job.id for job in client.submit_pipeline(request).jobs}
    client.wait(made.values(), timeout=60)
    digests = {artifact.name: artifact.digest for name in made for artifact in client.job(made[name]).outputs}
    stored = spec | {"kcore": {"digest": digests["kcore"]}}
    return JobRequest.model_validate({"spec": stored})


@contextmanager
def _bare_side(folder: Path, program: Path) -> Iterator[Bare]:
    ledgers = folder / "ledgers"
    ledgers.mkdir()
    # The same server, another of its databases.
    url = broker_url(broker_socket(folder / "state")).removesuffix("0") + "1"
    with ExitStack() as started:
        for number in range(GROUPS):
            started.enter_context(_bare_worker(url, f"bare{number}"))
        bare = Bare(ledgers, bare_app(url), program)
        bare.submit([1] * GROUPS)
        bare.await_done(GROUPS)
        yield bare


@contextmanager
def _bare_worker(url: str, name: str) -> Iterator[None]:
    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", "-q", "-A", "benchmarks.short_jobs:app", "worker", "-c", "1", "-P", "threads",
         "-Q", "bare", "-n", name, "--without-gossip", "--without-mingle", "-l", "error"],
        env={**os.environ, "BARE_BROKER": url},
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield
    finally:
        worker.terminate()
        worker.wait()


def __getattr__(name: str) -> Celery:
    """`benchmarks.short_jobs:app`, made when the command line of a bare worker asks for it."""
    if name == "app":
        return bare_app(os.environ["BARE_BROKER"])
    raise AttributeError(name)
