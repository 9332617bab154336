"""A tiny real installation: SQLite, a store, one slot, and a release whose tools are shell scripts."""

import copy
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import docker_stand_in
import pytest
from builders.databases import sqlite_unless_marked  # noqa: F401
from eventually import eventually
from sqlalchemy.orm import Session

from orchestrator.catalog.weights import weights_of
from orchestrator.jobs import bulk, lifecycle
from orchestrator.model.profile import Profile
from orchestrator.model.slots import CARDS_PER_HOST, SlotName
from orchestrator.model.states import JobState
from orchestrator.settings import Settings
from orchestrator.storage.artifacts import ArtifactStore
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Attempt, Job, JobInput, Model, Release
from workers.attempt.ending import Ended
from workers.attempt.execution import execute
from workers.processes.process import StopSignal
from workers.slot import OwnedSlot, owned

PROFILE: dict[str, Any] = {
    "profile": "tiny",
    "versions": {},
    "folders": {"codegen": "codegen"},
    "environment": {"PATH": "/usr/bin:/bin", "HOME": "{work}", "API_TOKEN": "s3cret"},
    "fingerprint": [],
    "backend_types": {
        "qwen2_bf16": {"family": "qwen2", "precision": "bf16"},
        "llama_bf16": {"family": "llama", "precision": "bf16", "conda": "other_env"},
    },
    "kinds": {
        "quantize": {
            "conda": "env",
            "cwd": "{work}/run",
            "model_config_file": "official",
            "argv": ["sh", "{root}/tool.sh", "{model}", "{out}"],
            "outputs": {"gm": {"search": "{out}", "glob": "*.gm", "kind": "file"}},
            "limits": {"run_seconds": 60, "silence_seconds": 60},
            "progress": r"step (?P<done>\d+)/(?P<total>\d+)",
        },
        "convert": {
            "conda": "env",
            "cwd": "{work}/run",
            "model_config_file": "official",
            "argv": ["sh", "{root}/tool.sh", "{codegen}", "{backend_type}"],
            "optional": {"gm": ["--q-model-path", "{gm}"]},
            "exclusive": "convert-{backend_type}",
            "outputs": {
                "c_source": {"search": "{codegen}", "glob": "*/node_0_0", "kind": "tree", "must_contain": ["*.c"]}
            },
            "limits": {"run_seconds": 60, "silence_seconds": 60},
        },
        "compile": {
            "conda": "env",
            "cwd": "{work}",
            "copy_in": {"c_source": "{work}/kcore/node_0_0"},
            "argv": ["sh", "{root}/tool.sh", "{c_source}"],
            "outputs": {
                "kcore": {
                    "search": "{work}/kcore",
                    "glob": "**/kcore.bin",
                    "kind": "tree",
                    "parents": 1,
                    "must_contain": ["kcore.bin"],
                }
            },
            "limits": {"run_seconds": 60, "silence_seconds": 60},
        },
        "infer": {
            "conda": "env",
            "cwd": "{work}/run",
            "model_config_file": "tx81",
            "copy_in": {"gm": "{model}/{gm_name}"},
            "argv": ["sh", "{root}/tool.sh", "{model}", "{out}", "{cards}", "{prompts}", "{kcore}"],
            "outputs": {"answers": {"search": "{out}", "glob": "*.jsonl", "kind": "file"}},
            "answers": {
                "glob": "*.jsonl",
                "question": "q",
                "text": "a",
                "repeat": "r",
                "index": "i",
                "batch": "b",
                "output_tokens": "n",
                "seconds": "s",
            },
            "logs": ["run/TX8_*"],
            "limits": {"run_seconds": 60, "silence_seconds": 60},
        },
        "client_chat_processes": {
            "conda": "env",
            "cwd": "{work}/run",
            "argv": ["sh", "{root}/tool.sh", "{ports}", "{prompts}", "{out}"],
            "outputs": {"answers": {"search": "{work}", "glob": "out", "kind": "tree", "must_contain": ["*.jsonl"]}},
            "answers": {
                "glob": "*.jsonl",
                "question": "q",
                "text": "a",
                "repeat": "r",
                "index": "i",
                "batch": "b",
            },
            "logs": ["run/TX8_*"],
            "limits": {"run_seconds": 60, "silence_seconds": 60},
        },
        "serve": {
            "conda": "env",
            "cwd": "{work}/run",
            "model_config_file": "tx81",
            "copy_in": {"gm": "{model}/{gm_name}"},
            "argv": ["sh", "{root}/tool.sh", "{model}", "{port}", "{cards}"],
            "serve": {"served_id": "{model}", "port_taken": "Address already in use", "listen": ["{address}"]},
            "outputs": {},
            "logs": ["run/TX8_*"],
            "limits": {"run_seconds": 60, "silence_seconds": 60},
        },
    },
    "kill_ladder": [
        {"signal": "SIGTERM", "grace_seconds": 1},
        {"signal": "SIGKILL", "grace_seconds": 5},
    ],
    "fault_signatures": [
        {"name": "hpgr_device_error", "pattern": "HPGR: device error"},
        {"name": "card_gone", "pattern": "card is gone", "sticky": True},
    ],
}


@pytest.fixture
def tiny_profile() -> Profile:
    return Profile.model_validate(PROFILE)


@dataclass
class Lab:
    """One installation in a folder, and the verbs that tests need."""

    folder: Path
    settings: Settings
    database: Database
    store: ArtifactStore

    def tool(self, script: str) -> None:
        """What every tool of the release does."""
        (self.folder / "release" / "tool.sh").write_text(script)

    def says(self, kind: str, **change: Any) -> None:
        """The release's profile says so about that kind from now on."""
        with self.database.write() as session:
            release = session.get_one(Release, "tiny")
            profile = copy.deepcopy(release.profile)
            profile["kinds"][kind] |= change
            release.profile = profile

    def stored(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return self.store.put_file(path).digest

    def stored_tree(self, name: str, files: dict[str, str]) -> str:
        for file_name, text in files.items():
            path = self.folder / name / file_name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return self.store.put_tree(self.folder / name).digest

    def assigned(
        self, spec: dict[str, Any], inputs: dict[str, str] | None = None, *, slot: str = "g0",
        others: tuple[str, ...] = (), **job: Any,
    ) -> int:  # fmt: skip
        """A job placed on a slot, and `others` with it: the id of its attempt, which waits for its bell."""
        with self.database.write() as session:
            wanted = bulk.Allocation(
                self._queued(session, spec, inputs, slot, **job),
                [f"{self.settings.host}.{name}" for name in (slot, *others)], "",
            )  # fmt: skip
            now = self.database.now(session)
            ((attempt_id, _),) = bulk.assign(session, [wanted], now=now, lease=self.settings.lease)
            return attempt_id

    def queued(self, spec: dict[str, Any], *, slot: str) -> int:
        """A job that no slot was given to yet."""
        with self.database.write() as session:
            return self._queued(session, spec, None, slot)

    def _queued(
        self, session: Session, spec: dict[str, Any], inputs: dict[str, str] | None, slot: str, **job: Any
    ) -> int:
        kind = SlotName.parse(slot).kind
        now = self.database.now(session)
        columns = {
            "name": "job", "kind": spec["kind"], "project": "default", "spec": spec, "request": {},
            "release": "tiny", "slot_kind": kind, "demand": str(kind), "priority": 5,
            "tool_retries": 0, "run_seconds": 60, "silence_seconds": 60, "log_bytes": 1 << 20,
            **job,
        }  # fmt: skip
        (job_id,) = bulk.create(session, [columns], now=now)
        row = session.get_one(Job, job_id)
        for name, digest in (inputs or {}).items():
            session.add(JobInput(job_id=row.id, name=name, digest=digest, file_name=f"{name}.file"))
        assert lifecycle.queue(session, row, start=JobState.WAITING, now=now)
        return row.id

    def run(self, attempt_id: int, slot: OwnedSlot, stop: StopSignal | None = None) -> Ended | None:
        return execute(attempt_id, slot, self.store, stop or StopSignal())

    def run_aside(self, attempt_id: int, slot: OwnedSlot, stop: StopSignal | None = None) -> threading.Thread:
        """The same in a thread of its own."""
        running = threading.Thread(target=self.run, args=(attempt_id, slot, stop))
        running.start()
        return running

    def attempt(self, attempt_id: int) -> Attempt:
        with self.database.read() as session:
            return session.get_one(Attempt, attempt_id)

    def job(self, attempt_id: int) -> Job:
        with self.database.read() as session:
            return session.get_one(Job, session.get_one(Attempt, attempt_id).job_id)

    def stop(self, attempt_id: int) -> None:
        with self.database.write() as session:
            job_id = session.get_one(Attempt, attempt_id).job_id
            lifecycle.stop(session, job_id, by="alice", why="enough", now=self.database.now(session))

    def cancel(self, attempt_id: int) -> None:
        with self.database.write() as session:
            job_id = session.get_one(Attempt, attempt_id).job_id
            lifecycle.cancel(session, job_id, by="alice", now=self.database.now(session))

    def with_lease(self, *, lease: float, margin: float, heartbeat: float) -> "Lab":
        short = {"lease": timedelta(seconds=lease), "lease_margin": timedelta(seconds=margin)}
        changed = self.settings.model_copy(update={**short, "heartbeat": timedelta(seconds=heartbeat)})
        return replace(self, settings=changed)


@pytest.fixture
def lab(tmp_path: Path, database: Database) -> Lab:
    settings = Settings(
        state_dir=tmp_path / "state",
        database_url=database.url.render_as_string(hide_password=False),
        host="lab",
        devices_dir=tmp_path / "dev",
        allowed_roots=(tmp_path,),
        heartbeat=timedelta(seconds=1),
    )
    (tmp_path / "state").mkdir()
    (tmp_path / "dev").mkdir()
    for card in range(CARDS_PER_HOST):
        (tmp_path / "dev" / f"dev-{card}").touch()
    (tmp_path / "release" / "codegen").mkdir(parents=True)
    weights = tmp_path / "models" / "tiny-model"
    (weights / "extra").mkdir(parents=True)
    for name in ("config.json", "config.json.bak", "extra/merges.txt"):
        (weights / name).write_text(f"the registered {name}")
    header = b'{"norm": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}'
    (weights / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"norm")
    found = weights_of(settings, weights)
    with database.write() as session:
        now = database.now(session)
        session.add(
            Model(
                name="tiny-model",
                path=str(weights),
                family="qwen2",
                official_config={"official": True},
                tx81_config={"param_dir": "/nowhere"},
                digest=found.digest,
                stamp=found.stamp,
                weights=found.tensors,
                size=0,
                created_at=now,
            )
        )
        session.add(
            Release(
                name="tiny",
                profile=json.loads(json.dumps(PROFILE)),
                root=str(tmp_path / "release"),
                digest="",
                is_default=True,
                created_at=now,
            )
        )
    return Lab(tmp_path, settings, database, ArtifactStore(settings.store))


@pytest.fixture
def g0(lab: Lab) -> Iterator[OwnedSlot]:
    with owned(lab.settings, lab.database, SlotName.parse("g0")) as slot:
        yield slot


@pytest.fixture
def cpu0(lab: Lab) -> Iterator[OwnedSlot]:
    with owned(lab.settings, lab.database, SlotName.parse("cpu0")) as slot:
        yield slot


@dataclass
class Docker:
    """The client's program, the folder it keeps its things in, and the daemon."""

    program: str
    folder: Path
    daemon: subprocess.Popen

    def call(self, *words: str) -> str:
        return subprocess.run([self.program, *words], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def docker():
    with tempfile.TemporaryDirectory() as folder:
        socket, program = Path(folder, "d.sock"), Path(folder, "docker")
        stand_in = Path(docker_stand_in.__file__)
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E {stand_in} {socket} "$@"\n')
        program.chmod(0o755)
        daemon = subprocess.Popen([sys.executable, stand_in, "serve", socket])
        eventually(socket.exists)
        made = Docker(str(program), Path(folder), daemon)
        yield made
        if daemon.poll() is None:
            made.call("stop", "txnn")
            daemon.terminate()
        daemon.wait()
