"""A lab: the whole product as real processes on an emulated host with two card groups, or more, and one CPU seat."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eventually import eventually

import emulator
from api.client.client import Client
from api.documents.jobs import JobDetail
from api.documents.slots import Presence, SlotDetail
from cli.stack.stack import embedded
from cli.stack.supervisor import Service, Supervisor, What
from orchestrator.model.specs import JobRequest, PipelineRequest
from orchestrator.settings import SHIPPED_PROFILES

MODEL = "DeepSeek-R1-Distill-Qwen-Tiny"

_VARIANTS = Path(emulator.__file__).parent / "variants"
"""Profiles for tools that read the guide in another way."""


class SecondHost:
    """The workers of another host, with cards and tools of their own; nobody starts them again when they die."""

    def __init__(self, services: Sequence[Service], tree: dict[str, str], folder: Path) -> None:
        self.tree = tree
        self._services = services
        self._journal = folder / "lab2.log"
        self._workers: list[subprocess.Popen[bytes]] = []

    def start(self, *slots: str) -> None:
        """Start the workers of these slots."""
        for service in self._services:
            if service.name.removeprefix("lab2.") in slots:
                with self._journal.open("ab") as journal:
                    self._workers.append(
                        subprocess.Popen(
                            service.argv,
                            env={**os.environ, **service.env},
                            cwd=service.cwd,
                            stdout=journal,
                            stderr=journal,
                        )
                    )

    def vanish(self) -> None:
        """SIGKILL everything that runs there, as when the power fails."""
        started = [worker.pid for worker in self._workers]
        for pid in [*started, *(below for worker in started for below in _descendants(worker))]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for worker in self._workers:
            worker.wait()
        self._workers = []


@dataclass(frozen=True)
class Lab:
    """What a test needs of a running stack."""

    client: Client
    tree: dict[str, str]
    supervisor: Supervisor
    pids: dict[str, int]
    lab2: SecondHost | None
    server: str
    token: str

    def pipeline(self, *, quantized: bool = False, project: str = "default", use_cache: bool = True) -> PipelineRequest:
        """Weights to answers of the tiny model, with its golden answers."""
        options = {"project": project, "use_cache": use_cache}
        jobs: dict[str, Any] = {}
        convert: dict[str, Any] = {"kind": "convert", "model": MODEL, "backend_type": "qwen2_7b_bf16"}
        infer: dict[str, Any] = {
            "kind": "infer", "model": MODEL, "kcore": {"job": "compile", "artifact": "kcore"}, "max_tokens": 512,
            "prompts": {"path": self.tree["prompts"]}, "golden": {"path": self.tree["golden"]},
        }  # fmt: skip
        if quantized:
            gm = {"job": "quantize", "artifact": "gm"}
            jobs["quantize"] = {"spec": {"kind": "quantize", "model": MODEL}, **options}
            convert |= {"backend_type": "qwen2_7b_quant", "gm": gm}
            infer["gm"] = gm
        jobs["convert"] = {"spec": convert, **options}
        jobs["compile"] = {
            "spec": {"kind": "compile", "c_source": {"job": "convert", "artifact": "c_source"}},
            **options,
        }
        jobs["infer"] = {"spec": infer, **options}
        return PipelineRequest.model_validate({"name": "weights-to-answers", "project": project, "jobs": jobs})

    def run(self, request: PipelineRequest) -> dict[str, JobDetail]:
        """Submit a pipeline and wait for its end; its jobs by name."""
        submitted = self.client.submit_pipeline(request)
        done = self.client.wait([job.id for job in submitted.jobs], timeout=120)
        return {job.name: job for job in done.values()}

    def convert(self, **more: Any) -> int:
        """Submit one conversion that never comes from the cache."""
        spec = {"kind": "convert", "model": MODEL, "backend_type": "deepseek_qwen2_7b_bf16"}
        request = JobRequest.model_validate({"spec": spec, "use_cache": False, **more})
        return self.client.submit(request).id

    def infer(self, kcore_job: int, **more: Any) -> int:
        """Submit one inference with a stored kcore."""
        spec = {
            "kind": "infer", "model": MODEL, "kcore": {"job": kcore_job, "artifact": "kcore"}, "max_tokens": 512,
            "prompts": {"path": self.tree["prompts"]}, "golden": {"path": self.tree["golden"]}, **more.pop("spec", {}),
        }  # fmt: skip
        return self.client.submit(JobRequest.model_validate({"spec": spec, **more})).id

    def slot(self, name: str) -> SlotDetail:
        """A slot of the lab's host, by its short name."""
        return self.client.slot(f"lab1.{name}")

    def ended(self, job: int, within: float = 120) -> JobDetail:
        """The job once it has ended."""
        return self.client.wait([job], timeout=within)[job]

    def running(self, job: int) -> JobDetail:
        """The job once its vendor process runs."""

        def started() -> JobDetail | None:
            detail = self.client.job(job)
            return detail if detail.attempts and detail.attempts[-1].pid else None

        return eventually(started, within=60)

    @contextmanager
    def fault(self, where: str, what: str) -> Iterator[None]:
        """Inject a fault into the emulated host while the block runs."""
        file = Path(self.tree["faults"]) / where
        file.write_text(what + "\n")
        try:
            yield
        finally:
            file.unlink(missing_ok=True)

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Lines of the emulator's event log."""
        lines = Path(self.tree["events"]).read_text().splitlines()
        return [event for event in map(json.loads, lines) if event["event"] == kind]

    def tools_running(self) -> list[str]:
        """Command lines of processes that work on this lab's tree or for its attempts."""
        home, mine = self.tree["home"], []
        for folder in Path("/proc").iterdir():
            if folder.name.isdecimal() and int(folder.name) not in (*self.pids.values(), os.getpid()):
                try:
                    words = (folder / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
                except OSError:
                    continue
                if any(word.startswith(home) for word in words):
                    mine.append(" ".join(words))
        return mine

    def kill(self, service: str) -> None:
        """SIGKILL one of the stack's processes; the supervisor starts it again."""
        os.kill(self.pids[service], signal.SIGKILL)


def _descendants(pid: int) -> Iterator[int]:
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, listed.read_text().split()):
            yield child
            yield from _descendants(child)


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_lab(
    folder: Path, database_url: str, groups: int = 2, root: Path | None = None, second_host: bool = False
) -> Iterator[Lab]:
    """A running lab; a second host, `lab2`, is there once its workers are started.

    With a `root` no release is installed yet: the cards are those that the driver will make there."""
    tree = _install(folder / "tree")
    state = folder / "state"
    env = {
        "TX81_STATE_DIR": str(state),
        "TX81_DATABASE_URL": database_url,
        "TX81_ALLOWED_ROOTS": json.dumps([str(folder)]),
        "TX81_DEVICES_DIR": tree["cards"] if root is None else str(root / "dev" / "accel"),
        "TX81_HOST": "lab1",
        "TX81_HEARTBEAT": "1",
        "TX81_LEASE": "6",
        "TX81_LEASE_MARGIN": "1",
        "TX81_RING_AGAIN": "2",
        "TX81_CANARY_PAUSES": "[1]",
        "TX81_CANARY_FAILURES": "100",
        "TX81_NOTIFY_LOOPBACK": "true",
        "TX81_PROFILE_DIRS": json.dumps([str(_VARIANTS), str(SHIPPED_PROFILES)]),
    }
    subprocess.run([sys.executable, "-m", "migrations"], check=True, env={**os.environ, **env}, capture_output=True)
    port = free_port()
    more_hosts = {}
    if second_host:
        tree2 = _install(folder / "tree2")
        more_hosts["lab2"] = {
            "TX81_DEVICES_DIR": tree2["cards"],
            "TX81_WORK_DIR": str(folder / "work2"),
            "TX81_RELEASE_ROOTS": json.dumps({"emulated": tree2["home"]}),
        }
    services = embedded(
        env, state, sys.executable, groups=groups, more_hosts=more_hosts, flower_port=None, api_port=port
    )
    theirs = [service for service in services if "." in service.name]
    second = SecondHost(theirs, tree2, folder) if second_host else None
    services = [service for service in services if service not in theirs]
    pids: dict[str, int] = {}
    started = threading.Lock()

    def note(event: Any) -> None:
        with started:
            if event.what is What.STARTED:
                pids[event.service] = event.pid

    with Supervisor(services, folder / "logs", note) as supervisor:
        token = (state / "admin-token").read_text().strip()
        with Client(f"http://127.0.0.1:{port}", token) as client:
            if root is None:
                client.register_release("emulated", "txnn_1.2.1_build0307", tree["home"], default=True)
            client.register_model(MODEL, tree["model"], tx81_config=f"{tree['model']}/config_tx81.json")
            eventually(lambda: sum(slot.presence is Presence.ALIVE for slot in client.slots()) == groups + 1, within=60)
            try:
                yield Lab(client, tree, supervisor, pids, second, f"http://127.0.0.1:{port}", token)
            finally:
                if second is not None:
                    second.vanish()


def _install(folder: Path) -> dict[str, str]:
    done = subprocess.run([sys.executable, "-m", "emulator", "install", folder], check=True, capture_output=True)
    places: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return places
