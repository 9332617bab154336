"""One archive of a job: complete, the same every time, bounded, and without secrets."""

import hashlib
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
import zstandard
from builders.desk import Desk
from builders.lifecycle import a_running_attempt, a_slot, finish, now
from sqlalchemy import select

from orchestrator.errors import NotFound
from orchestrator.handover import outcome
from orchestrator.handover.archive import Compression, safe_name
from orchestrator.handover.bundle import Bundles
from orchestrator.jobs import lifecycle
from orchestrator.model.failures import Failure, FailureKind
from orchestrator.storage.tables import Answer, Attempt, Job

TOKEN = "tx81_" + "Ab3-_" * 9
COMMAND = {
    "argv": ["python", "/opt/tools/offline.py", "-mp", "/w/lab1.g3/1.1/model/qwen", "--token", "hush-hush"],
    "env": {"PATH": "/usr/bin", "HOME": "/w/lab1.g3/1.1", "VENDOR_TOKEN": "***", "PROXY": "http://u:hush-hush@p:1"},
    "cwd": "/w/lab1.g3/1.1/run",
}


@pytest.fixture
def bundles(desk: Desk) -> Bundles:
    settings = desk.settings.model_copy(update={"broker_url": "redis://:br0ker-pass@127.0.0.1:6379/0"})
    return Bundles(settings, desk.database, desk.store)


def ran(desk: Desk, *, log: bytes = b"all is well\n", failure: Failure | None = None, **facts) -> int:
    """An inference that has ended, with a log, a black box and two answers."""
    job_id = desk.submit(desk.infer(**facts))
    with desk.database.write() as session:
        job = session.get_one(Job, job_id)
        attempt = a_running_attempt(session, job, a_slot(session, "g3"))
        attempt.command = {**COMMAND, "argv": [word.replace("1.1", f"{job_id}.1") for word in COMMAND["argv"]]}
        finish(session, attempt, failure)
        sealed = desk.files / "log.zst"
        (desk.files / "log").write_bytes(log)
        outcome_logs(desk, attempt, sealed)
        box = desk.store.put_bytes(json.dumps({"command": COMMAND, "log": [f"Bearer {TOKEN}"]}).encode())
        output = {"name": "black_box", "digest": box.digest, "tree": False, "file_name": "b.json", "size": box.size}
        lifecycle.add_outputs(session, attempt.id, [output], now=now())
        for index, text in enumerate(["right", f"wrong {TOKEN}"]):
            session.add(
                Answer(
                    attempt_id=attempt.id, repeat=0, index=index, question="q", text=text, golden="right",
                    exact=text == "right",
                )
            )  # fmt: skip
    return job_id


def outcome_logs(desk: Desk, attempt: Attempt, sealed: Path) -> None:
    from orchestrator.storage import logs

    told = logs.seal(desk.files / "log", sealed)
    attempt.log_digest, attempt.log_bytes = desk.store.put_file(sealed).digest, told.bytes


def unpacked(bundles: Bundles, job: int, how: Compression = Compression.ZST, **facts) -> dict[str, bytes]:
    raw = b"".join(bundles.open(job, how=how, **facts))
    if how is Compression.ZST:
        raw = zstandard.ZstdDecompressor().decompressobj().decompress(raw)
    with tarfile.open(fileobj=io.BytesIO(raw), mode="r:*") as tar:
        return {entry.name.partition("/")[2]: tar.extractfile(entry).read() for entry in tar.getmembers()}


def test_a_reader_finds_all_that_ran_and_can_check_it(desk: Desk, bundles: Bundles, tmp_path: Path):
    job = ran(desk)

    files = unpacked(bundles, job)

    bill = json.loads(files["bill_of_materials.json"])
    assert bill["place"] == {"host": "lab1", "slots": ["lab1.g3"], "cards": "12..15", "worker": "worker-a"}
    assert (bill["release"]["name"], bill["model"]["name"]) == ("r1", "qwen")
    assert bill["release"]["versions"]["driver"] == "4.3.7.p3"
    assert {row["name"] for row in bill["inputs"]} == {"kcore", "prompts"}
    assert files["attempts/1/log.txt"] == b"all is well\n"
    assert [json.loads(line)["exact"] for line in files["attempts/1/answers.jsonl"].splitlines()] == [True, False]
    (difference,) = map(json.loads, files["attempts/1/golden_diff.jsonl"].splitlines())
    assert (difference["index"], difference["first_difference"]) == (1, 0)
    assert b"job.queued" in files["events.jsonl"]
    assert files["inputs/prompts/prompts.txt"] == "你好\n".encode()
    for line in files["SHA256SUMS"].decode().splitlines():
        digest, _, path = line.partition("  ")
        assert hashlib.sha256(files[path]).hexdigest() == digest
    assert len(files["SHA256SUMS"].splitlines()) == len(files) - 1
    script = tmp_path / "repeat.sh"
    script.write_bytes(files["repeat.sh"])
    subprocess.run(["bash", "-n", script], check=True)


def test_no_secret_is_in_it(desk: Desk, bundles: Bundles):
    log = f"connect redis://:br0ker-pass@broker\nAuthorization: Bearer {TOKEN}\npassword=hush-hush\n".encode()
    job = ran(desk, log=log, failure=Failure(kind=FailureKind.FAULT, reason=f"refused {TOKEN}"))

    files = unpacked(bundles, job)

    for path, content in files.items():
        for secret in (TOKEN, "hush-hush", "br0ker-pass"):
            assert secret.encode() not in content, path
    assert b"REPEAT_ENV_VENDOR_TOKEN" in files["repeat.sh"]
    assert b"right" in files["attempts/1/answers.jsonl"]


def test_it_is_the_same_every_time_in_both_forms(desk: Desk, bundles: Bundles):
    job = ran(desk)

    assert b"".join(bundles.open(job, how=Compression.ZST)) == b"".join(bundles.open(job, how=Compression.ZST))
    assert unpacked(bundles, job, Compression.GZ) == unpacked(bundles, job, Compression.ZST)


def test_large_artifacts_are_named_by_digest_and_packed_on_request(desk: Desk, bundles: Bundles):
    kcore = desk.stored("kcore", b"a kernel image")
    job = ran(desk, kcore=kcore)

    files, more = unpacked(bundles, job), unpacked(bundles, job, with_artifacts=True)

    assert not [path for path in files if path.startswith("artifacts/")]
    assert kcore["digest"] in files["bill_of_materials.json"].decode()
    assert more["artifacts/kcore/kcore"] == b"a kernel image"
    assert b'KCORE="$HERE"/artifacts/kcore/kcore' in more["repeat.sh"]


def test_the_lineage_of_a_kernel_image_leads_to_the_weights(desk: Desk, bundles: Bundles):
    convert, compile_ = desk.pipeline(
        {
            "convert": {"kind": "convert", "model": "qwen", "backend_type": "qwen2_7b_bf16"},
            "compile": {"kind": "compile", "c_source": {"job": "convert", "artifact": "c_source"}},
        }
    )
    for job in (convert, compile_):
        desk.build(job)
        desk.promote()
    job = ran(desk, kcore={"job": compile_, "artifact": "kcore"})

    (kcore,) = (row for row in json.loads(unpacked(bundles, job)["bill_of_materials.json"])["inputs"]
                if row["name"] == "kcore")  # fmt: skip

    assert [(step["kind"], step["job"], step["release"]) for step in kcore["lineage"]] == [
        ("compile", compile_, "r1"), ("convert", convert, "r1"),
    ]  # fmt: skip
    assert kcore["lineage"][1]["spec"]["backend_type"] == "qwen2_7b_bf16"


def test_a_long_log_keeps_its_beginning_and_its_end(desk: Desk, bundles: Bundles, monkeypatch):
    monkeypatch.setattr(outcome, "MOST_LOG_BYTES", 3 << 20)
    log = b"first line\n" + b"x" * 99 + b"\n" + os.urandom(1 << 20).hex().encode() * 3 + b"\nlast line\n"
    job = ran(desk, log=log)

    files = unpacked(bundles, job)

    kept = files["attempts/1/log.txt"]
    assert kept.startswith(b"first line\n")
    assert kept.endswith(b"\nlast line\n")
    assert len(kept) < 4 << 20
    assert "attempts/1/log.txt" in files["left_out.json"].decode()


def test_what_the_store_lost_is_left_out_and_said(desk: Desk, bundles: Bundles):
    job = ran(desk)
    with desk.database.read() as session:
        digest = session.scalars(select(Attempt.log_digest).where(Attempt.job_id == job)).one()
    desk.store.path(digest).unlink()

    files = unpacked(bundles, job)

    assert files["attempts/1/log.txt"] == b""
    assert "the store has no" in files["left_out.json"].decode()


def test_a_job_that_never_ran_has_a_bundle_without_a_script(desk: Desk, bundles: Bundles):
    files = unpacked(bundles, desk.submit(desk.infer()))

    assert "repeat.sh" not in files
    assert "There is no repeat.sh" in files["README.txt"].decode()


def test_there_is_none_of_an_unknown_job(bundles: Bundles):
    with pytest.raises(NotFound):
        bundles.open(77, how=Compression.ZST)


@pytest.mark.parametrize("name", ["../../etc/passwd", "-rf", ".hidden", "a\nb", "", "..", "x" * 500, "$(id)"])
def test_a_name_in_the_archive_is_plain(name: str):
    safe = safe_name(name)

    assert safe
    assert "/" not in safe
    assert not safe.startswith((".", "-"))
    assert len(safe.encode()) <= 100
    assert safe.isprintable()
