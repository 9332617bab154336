"""Every submission stores its files and looks at them while no session of the database is open, on both databases."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from builders.desk import Desk, compile_of, convert, request_of
from builders.lifecycle import a_slot, now
from builders.rows import PROFILE
from sqlalchemy.orm import Session

from orchestrator.batches.submit import BatchSubmission
from orchestrator.model.batches import BatchRequest
from orchestrator.model.provision import ProvisionRequest
from orchestrator.model.specs import CanarySpec
from orchestrator.slots.canaries import Canaries
from orchestrator.slots.provisioning import Provisioning
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Artifact


class CountingDatabase(Database):
    """Knows how many of its sessions are open."""

    open = 0

    @contextmanager
    def read(self) -> Iterator[Session]:
        with super().read() as session, self._counted():
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        with super().write() as session, self._counted():
            yield session

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1


class FileWatch:
    """The files below a folder that this process opens, each with the number of sessions open then."""

    def __init__(self, database: CountingDatabase, folder: Path) -> None:
        self.opened: list[tuple[str, int]] = []
        self._database = database
        self._folder = str(folder)
        self._watching = True
        # Python takes no audit hook back.
        sys.addaudithook(self._hear)

    def _hear(self, event: str, args: tuple[object, ...]) -> None:
        if event == "open" and self._watching and str(args[0]).startswith(self._folder):
            self.opened.append((Path(str(args[0])).name, self._database.open))

    def stop(self) -> None:
        self._watching = False


@pytest.fixture
def database(database_url) -> Iterator[CountingDatabase]:
    opened = CountingDatabase(database_url)
    yield opened
    opened.close()


@pytest.fixture
def desk(desk: Desk, database) -> Desk:
    with database.write() as session:
        for name in (*(f"g{number}" for number in range(8)), "cpu0"):
            a_slot(session, name)
    return desk


@pytest.fixture
def watch(desk, database, tmp_path) -> Iterator[FileWatch]:
    watching = FileWatch(database, tmp_path)
    yield watching
    watching.stop()


def _kcore(desk: Desk, job: int | None = None) -> str:
    """A stored kernel image, if need be one that a job has made."""
    folder = desk.files / "kcore"
    folder.mkdir(exist_ok=True)
    (folder / "kcore.bin").write_bytes(b"kcore")
    (folder / "model_info.json").write_text(json.dumps({"chip_num": 4}))
    stored = desk.store.put_tree(folder)
    with desk.database.write() as session:
        facts = {"name": "kcore", "file_name": "kcore", "size": stored.size, "job_id": job, "created_at": now()}
        session.add(Artifact(digest=stored.digest, tree=True, **facts))
    return stored.digest


def _infer(desk: Desk) -> dict[str, object]:
    return desk.infer(kcore={"digest": _kcore(desk)})


def _one_job(desk: Desk) -> Callable[[], object]:
    spec = _infer(desk)
    return lambda: desk.submit(spec)


def _a_job_on_a_built_kcore(desk: Desk) -> Callable[[], object]:
    _, built = desk.pipeline({"convert": convert(), "compile": compile_of("convert")})
    _kcore(desk, built)
    spec = desk.infer(kcore={"job": built, "artifact": "kcore"})
    return lambda: desk.submit(spec)


def _many_jobs(desk: Desk) -> Callable[[], object]:
    requests = [request_of(_infer(desk))] * 2
    return lambda: desk.submission.jobs(requests)


def _a_pipeline(desk: Desk) -> Callable[[], object]:
    jobs = {"one": _infer(desk), "other": _infer(desk)}
    return lambda: desk.pipeline(jobs)


def _a_batch(desk: Desk, **asked: object) -> Callable[[], object]:
    request = BatchRequest.model_validate({"name": "stress", **asked})
    return lambda: BatchSubmission(desk.settings, desk.database, desk.store).submit(request)


def _a_batch_of_jobs(desk: Desk) -> Callable[[], object]:
    return _a_batch(desk, jobs=[{"spec": _infer(desk)}] * 2)


def _a_batch_on_all_slots(desk: Desk) -> Callable[[], object]:
    return _a_batch(desk, template={"spec": _infer(desk)}, slots="all")


def _a_canary(desk: Desk) -> Callable[[], object]:
    golden = desk.file("golden.jsonl", '{"question": "你好", "answer": "4"}\n'.encode())
    spec = CanarySpec(model="qwen", kcore={"digest": _kcore(desk)}, prompts=desk.file(), golden=golden)
    canaries = Canaries(desk.settings, desk.database, desk.store, desk.submission)
    return lambda: canaries.register("r1", spec, by="alice")


def _a_host_to_set_up(desk: Desk) -> Callable[[], object]:
    profile = {**PROFILE.model_dump(mode="json"), "profile": "own"}
    (desk.files / "own.yaml").write_text(yaml.safe_dump(profile))
    settings = desk.settings.model_copy(update={"profile_dirs": (desk.files,)})
    asked = {"packages": str(desk.files), "root": str(desk.files / "root"), "release": "r2", "profile": "own"}
    provisioning = Provisioning(settings, desk.database, desk.submission)
    return lambda: provisioning.start("lab1", ProvisionRequest.model_validate(asked), by="alice")


@pytest.mark.parametrize(
    ("prepared", "read"),
    [
        (_one_job, "prompts.txt"),
        (_a_job_on_a_built_kcore, "prompts.txt"),
        (_many_jobs, "prompts.txt"),
        (_a_pipeline, "prompts.txt"),
        (_a_batch_of_jobs, "prompts.txt"),
        (_a_batch_on_all_slots, "prompts.txt"),
        (_a_canary, "golden.jsonl"),
        (_a_host_to_set_up, "own.yaml"),
    ],
)
def test_no_file_is_read_or_stored_while_a_session_is_open(desk, watch, prepared, read):
    submit = prepared(desk)
    watch.opened.clear()

    submit()

    assert read in {name for name, _ in watch.opened}
    assert [name for name, sessions in watch.opened if sessions] == []
