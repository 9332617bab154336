"""Attempts from claim to report, with real tools (shell scripts), a real database and a real store."""

import json
import threading
from datetime import timedelta

import pytest
from builders.databases import both_databases
from eventually import eventually
from sqlalchemy import select

from orchestrator.jobs import lifecycle
from orchestrator.model.slots import SlotName
from orchestrator.model.states import AttemptState, JobState, ServiceState
from orchestrator.storage import live_logs
from orchestrator.storage.logs import SealedLogReader
from orchestrator.storage.tables import Answer, Artifact, Event, Lease, Metric, Slot
from workers.processes.process import StopReason, StopSignal
from workers.slot import owned

QUANTIZE = {"kind": "quantize", "model": "tiny-model"}
INFER = {"kind": "infer", "model": "tiny-model", "kcore": {"job": 1, "artifact": "kcore"}, "prompts": {"path": "/p"}}
COMPILE = {"kind": "compile", "c_source": {"job": 1, "artifact": "c_source"}}
CONVERT = {"kind": "convert", "model": "tiny-model", "backend_type": "qwen2_bf16"}


def outputs_of(lab, attempt_id):
    with lab.database.read() as session:
        return {row.name: row for row in session.scalars(select(Artifact).where(Artifact.attempt_id == attempt_id))}


@both_databases
def test_a_tool_that_does_its_work_makes_a_succeeded_job_with_its_output_and_its_log(lab, cpu0):
    lab.tool('echo "working on $1"; cat "$1/config.json" > "$2/weights.gm"')
    attempt_id = lab.assigned(QUANTIZE, slot="cpu0")

    lab.run(attempt_id, cpu0)

    assert lab.job(attempt_id).state is JobState.SUCCEEDED
    stored = outputs_of(lab, attempt_id)
    assert json.loads(lab.store.path(stored["gm"].digest).read_bytes()) == {"official": True}
    assert b"working on" in SealedLogReader(lab.store.path(stored["log"].digest)).read(0, 100)
    assert lab.attempt(attempt_id).log_digest == stored["log"].digest


def test_what_was_started_is_kept_but_for_its_secrets(lab, cpu0):
    lab.tool('echo "$API_TOKEN" > "$2/weights.gm"')
    attempt_id = lab.assigned(QUANTIZE, slot="cpu0")

    lab.run(attempt_id, cpu0)

    attempt = lab.attempt(attempt_id)
    assert attempt.command["argv"][:2] == ["sh", str(lab.folder / "release/tool.sh")]
    assert attempt.command["env"]["API_TOKEN"] == "***"
    assert lab.store.path(outputs_of(lab, attempt_id)["gm"].digest).read_bytes() == b"s3cret\n"
    assert attempt.pid > 0


def test_the_start_of_a_tool_that_ends_at_once_is_told_before_its_end(lab, cpu0):
    lab.tool('touch "$2/weights.gm"')
    attempt_id = lab.assigned(QUANTIZE, slot="cpu0")

    lab.run(attempt_id, cpu0)

    with lab.database.read() as session:
        told = session.scalars(select(Event).where(Event.attempt_id == attempt_id).order_by(Event.id)).all()
    kinds = [event.kind for event in told if event.kind.startswith("attempt.")]
    assert kinds[-2:] == ["attempt.started", "attempt.succeeded"]
    assert [event.data["pid"] for event in told if event.kind == "attempt.started"] == [lab.attempt(attempt_id).pid]


def test_the_slot_is_free_and_the_working_folder_gone_when_an_attempt_has_ended(lab, cpu0):
    lab.tool('chmod 500 .; touch "$2/weights.gm"')
    attempt_id = lab.assigned(QUANTIZE, slot="cpu0")

    lab.run(attempt_id, cpu0)

    with lab.database.read() as session:
        assert session.scalars(select(Lease)).all() == []
    assert list(cpu0.work.iterdir()) == []


def test_the_failure_of_a_tool_is_told_by_its_last_line(lab, cpu0):
    lab.tool('echo "loading"; printf "\\033[31mRuntimeError: 权重不匹配\\033[0m\\n\\n"; exit 3')
    attempt_id = lab.assigned(QUANTIZE, slot="cpu0")

    lab.run(attempt_id, cpu0)

    job = lab.job(attempt_id)
    assert lab.attempt(attempt_id).failure["kind"] == "tool"
    assert job.state is JobState.FAILED
    assert job.failure["reason"] == "RuntimeError: 权重不匹配 (exit code 3)"
    assert job.failure["exit_code"] == 3


def test_weights_that_were_changed_after_their_registration_make_no_result(lab, cpu0):
    attempt_id = lab.assigned(QUANTIZE, slot="cpu0")
    weights = lab.folder / "models/tiny-model/model.safetensors"
    lab.tool(
        f"printf other | dd of={weights} bs=1 seek=$(($(stat -c %s {weights}) - 4)) count=4 conv=notrunc; "
        'touch "$2/weights.gm"'
    )

    lab.run(attempt_id, cpu0)

    failure = lab.job(attempt_id).failure
    assert failure["kind"] == "bad_spec"
    assert "changed since it was registered" in failure["reason"]
    assert "gm" not in outputs_of(lab, attempt_id)


def test_a_running_attempt_ends_at_the_jobs_total_deadline(lab, cpu0):
    lab.tool("sleep 60")
    with lab.database.read() as session:
        soon = lab.database.now(session) + timedelta(seconds=0.3)
    attempt_id = lab.assigned(QUANTIZE, slot="cpu0", deadline_at=soon)

    lab.run(attempt_id, cpu0)

    assert lab.job(attempt_id).failure["kind"] == "total_deadline"


@both_databases
def test_a_device_error_is_a_fault_and_the_job_is_queued_again(lab, cpu0):
    lab.tool("echo 'E HPGR: device error 7'; echo 'Traceback: something else'; exit 1")
    attempt_id = lab.assigned(QUANTIZE, slot="cpu0")

    lab.run(attempt_id, cpu0)

    assert lab.job(attempt_id).state is JobState.QUEUED
    assert lab.attempt(attempt_id).failure["signature"] == "hpgr_device_error"
    assert lab.attempt(attempt_id).failure["reason"] == "E HPGR: device error 7"


@both_databases
@pytest.mark.parametrize("code", [0, 1], ids=["exit 0", "exit 1"])
def test_a_sticky_device_error_quarantines_the_slot_and_a_result_is_kept(lab, cpu0, code):
    lab.tool(f"touch \"$2/weights.gm\"; echo 'E card is gone: 卡 7'; exit {code}")
    attempt_id = lab.assigned(QUANTIZE, slot="cpu0")

    lab.run(attempt_id, cpu0)

    with lab.database.read() as session:
        slot = session.get_one(Slot, cpu0.id)
    assert slot.service_state is ServiceState.QUARANTINED
    assert slot.quarantined_because["reason"] == "E card is gone: 卡 7"
    assert slot.quarantined_because["attempt_id"] == attempt_id
    assert lab.attempt(attempt_id).suspicion["signature"] == "card_gone"
    assert lab.job(attempt_id).state is (JobState.QUEUED if code else JobState.SUCCEEDED)
    assert ("gm" in outputs_of(lab, attempt_id)) == (code == 0)


def test_a_model_folder_that_is_not_mounted_is_a_fault(lab, cpu0):
    (lab.folder / "models" / "tiny-model").rename(lab.folder / "models" / "unmounted")
    attempt_id = lab.assigned(QUANTIZE, slot="cpu0")

    lab.run(attempt_id, cpu0)

    assert lab.job(attempt_id).state is JobState.QUEUED
    assert "tiny-model cannot be read" in lab.attempt(attempt_id).failure["reason"]


def test_success_without_the_output_is_a_failure_that_names_it(lab, cpu0):
    lab.tool("echo all fine")
    attempt_id = lab.assigned(QUANTIZE, slot="cpu0")

    lab.run(attempt_id, cpu0)

    failure = lab.job(attempt_id).failure
    assert failure["kind"] == "output_missing"
    assert "no gm: no new file matches *.gm" in failure["reason"]


def test_a_spec_that_does_not_fit_fails_before_anything_is_started(lab, cpu0):
    attempt_id = lab.assigned({**CONVERT, "backend_type": "unknown_bf16"}, slot="cpu0")

    lab.run(attempt_id, cpu0)

    assert lab.job(attempt_id).failure["kind"] == "bad_spec"
    assert "unknown_bf16" in lab.job(attempt_id).failure["reason"]
    assert lab.attempt(attempt_id).pid is None


def test_a_job_never_gets_the_cards_of_another_group(lab, g0):
    attempt_id = lab.assigned(
        {**INFER, "cards": "4..7"}, {"kcore": lab.stored("k", "k"), "prompts": lab.stored("p", "q")}
    )

    lab.run(attempt_id, g0)

    assert lab.job(attempt_id).failure["kind"] == "bad_spec"
    assert "placed on lab.g0" in lab.job(attempt_id).failure["reason"]


@both_databases
def test_a_late_bell_is_dropped(lab, cpu0):
    lab.tool('touch "$2/weights.gm"')
    attempt_id = lab.assigned(QUANTIZE, slot="cpu0")
    lab.run(attempt_id, cpu0)

    again = lab.run(attempt_id, cpu0)

    assert again is None
    assert lab.run(4711, cpu0) is None


def test_a_source_tree_is_compiled_in_a_private_copy(lab, cpu0):
    digest = lab.stored_tree("node_0_0", {"a.c": "int a;", "sub/b.c": "int b;"})
    lab.tool('echo edited >> "$1/a.c"; mkdir "$1/../out"; cat "$1/sub/b.c" > "$1/../out/kcore.bin"')
    attempt_id = lab.assigned(COMPILE, {"c_source": digest}, slot="cpu0")

    lab.run(attempt_id, cpu0)

    kcore = outputs_of(lab, attempt_id)["kcore"]
    assert lab.store.read_entry(kcore.digest, "kcore.bin") == b"int b;"
    lab.store.verify(digest)


def test_what_an_earlier_run_left_in_the_install_tree_is_not_taken_for_an_output(lab, cpu0):
    old = lab.folder / "release/codegen/other_type/node_0_0"
    old.mkdir(parents=True)
    (old / "old.c").write_text("old")
    lab.tool("exit 0")
    attempt_id = lab.assigned(CONVERT, slot="cpu0")

    lab.run(attempt_id, cpu0)

    assert lab.job(attempt_id).failure["kind"] == "output_missing"


def test_a_converted_tree_is_taken_from_wherever_the_tool_put_it(lab, cpu0):
    lab.tool('mkdir -p "$1/surprise_28b_c4_2/node_0_0"; echo "int x;" > "$1/surprise_28b_c4_2/node_0_0/x.c"')
    attempt_id = lab.assigned(CONVERT, slot="cpu0")

    lab.run(attempt_id, cpu0)

    tree = outputs_of(lab, attempt_id)["c_source"]
    assert [entry.path for entry in lab.store.entries(tree.digest)] == ["x.c"]
    assert tree.file_name == "node_0_0"


ANSWERING = """
echo "model $1 cards $3"; cp "$1/config.json" TX8_offline.log
{rows}
"""


def answering(rows):
    return ANSWERING.format(rows="\n".join(f"echo '{json.dumps(row)}' >> \"$2/answers.jsonl\"" for row in rows))


def inferring(lab, *, prompts, golden=None, **spec):
    inputs = {
        "kcore": lab.stored_tree("kcore", {"kcore.bin": "k"}),
        "prompts": lab.stored("prompts", prompts),
    }
    if golden is not None:
        inputs["golden"], spec = lab.stored("golden", golden), {"golden": {"path": "/g"}, **spec}
    return lab.assigned({**INFER, **spec}, inputs)


@both_databases
def test_answers_become_rows_beside_their_golden_answers_with_the_numbers_of_the_run(lab, g0):
    lab.tool(
        answering(
            [
                {"r": 1, "i": 0, "q": "法国的首都？", "a": "巴黎", "n": 2, "s": 0.5},
                {"r": 1, "i": 1, "q": "2+2?", "a": "5", "n": 1, "s": 1.5},
            ]
        )
    )
    golden = '{"question": "2+2?", "answer": "4"}\n{"question": "法国的首都？", "answer": "巴黎"}\n'
    attempt_id = inferring(lab, prompts="法国的首都？\n\n2+2?\n", golden=golden, require="report")

    lab.run(attempt_id, g0)

    assert lab.job(attempt_id).failure is None
    with lab.database.read() as session:
        rows = session.scalars(select(Answer).order_by(Answer.index)).all()
        numbers = {row.name: row for row in session.scalars(select(Metric))}
    assert [(row.text, row.golden, row.exact) for row in rows] == [("巴黎", "巴黎", True), ("5", "4", False)]
    assert (numbers["exact_answers"].value, numbers["exact_answers"].count) == (1, 2)
    assert numbers["output_tokens"].value == 3
    assert numbers["request_seconds_p50"].value == 1.0
    assert numbers["output_throughput"].definition == "output_throughput/process_wall"


SAID = [{"r": 1, "i": 0, "q": "2+2?", "a": "<think>so</think>four"}, {"r": 1, "i": 1, "q": "3+3?", "a": "6"}]


def golden_of(*texts):
    return "\n".join(json.dumps({"question": row["q"], "answer": text}) for row, text in zip(SAID, texts, strict=True))


@pytest.mark.parametrize(
    "spec",
    [{}, {"require": "exact"}, {"require": {"similarity": 0.99}}, {"require": {"final_answer": True}}],
    ids=["default", "exact", "similar", "final"],
)
def test_answers_that_miss_their_golden_fail_the_job_and_are_kept_with_numbers_files_and_log(lab, g0, spec):
    lab.tool(answering(SAID))
    attempt_id = inferring(lab, prompts="2+2?\n3+3?\n", golden=golden_of("<think>so</think>four", "7"), **spec)

    lab.run(attempt_id, g0)

    job, attempt = lab.job(attempt_id), lab.attempt(attempt_id)
    assert (job.state, attempt.state, job.failure["kind"]) == (JobState.FAILED, AttemptState.FAILED, "wrong_answers")
    assert job.failure["reason"].startswith("1 of 2 answers ")
    assert job.failure["reason"].endswith(": prompt 1 “3+3?”")
    assert attempt.answers_digest is not None
    with lab.database.read() as session:
        assert [row.exact for row in session.scalars(select(Answer).order_by(Answer.index))] == [True, False]
        assert session.scalars(select(Metric.value).where(Metric.name == "exact_answers")).one() == 1
        assert session.get_one(Slot, g0.id).service_state is ServiceState.IN_SERVICE
    assert {"answers", "log"} <= outputs_of(lab, attempt_id).keys()


@pytest.mark.parametrize("require", ["report", {"similarity": 0.3}, {"final_answer": True}], ids=str)
def test_answers_that_are_close_enough_for_their_rule_make_a_success(lab, g0, require):
    lab.tool(answering(SAID))
    golden = golden_of("<think>well</think>four", "6")
    attempt_id = inferring(lab, prompts="2+2?\n3+3?\n", golden=golden, require=require)

    lab.run(attempt_id, g0)

    assert lab.job(attempt_id).state is JobState.SUCCEEDED, lab.job(attempt_id).failure


def test_wrong_answers_beside_a_device_error_are_a_fault_and_the_job_runs_again(lab, g0):
    lab.tool(f"echo 'E HPGR: device error 7'\n{answering(SAID)}")
    attempt_id = inferring(lab, prompts="2+2?\n3+3?\n", golden=golden_of("five", "7"))

    lab.run(attempt_id, g0)

    assert (lab.job(attempt_id).state, lab.attempt(attempt_id).failure["kind"]) == (JobState.QUEUED, "fault")


def test_an_empty_answer_is_an_answer_beside_the_others(lab, g0):
    lab.tool(answering([SAID[0], {**SAID[1], "a": ""}]))
    attempt_id = inferring(lab, prompts="2+2?\n3+3?\n")

    lab.run(attempt_id, g0)

    assert lab.job(attempt_id).failure is None
    with lab.database.read() as session:
        assert [row.text for row in session.scalars(select(Answer).order_by(Answer.index))] == [SAID[0]["a"], ""]


def test_more_empty_answers_than_the_job_allows_fail_it(lab, g0):
    lab.tool(answering([SAID[0], {**SAID[1], "a": ""}]))
    attempt_id = inferring(lab, prompts="2+2?\n3+3?\n", most_empty=0)

    lab.run(attempt_id, g0)

    failure = lab.job(attempt_id).failure
    assert failure["kind"] == "output_missing"
    assert "most_empty allows 0" in failure["reason"]


def test_inference_gets_the_model_with_a_config_that_names_its_kcore(lab, g0):
    lab.tool(answering([{"r": 1, "i": 0, "q": "q", "a": "a"}]))
    attempt_id = inferring(lab, prompts="q")

    lab.run(attempt_id, g0)

    stored = outputs_of(lab, attempt_id)
    config = json.loads(lab.store.path(stored["vendor_log"].digest).read_bytes())
    assert config["param_dir"] == lab.attempt(attempt_id).command["argv"][6]
    assert (lab.folder / "models/tiny-model/config.json").read_text() == "the registered config.json"
    assert lab.attempt(attempt_id).command["argv"][4] == "0..3"


def test_too_few_answers_are_no_success_but_are_kept_as_a_file(lab, g0):
    lab.tool(answering([{"r": 1, "i": 0, "q": "q", "a": "a"}]))
    attempt_id = inferring(lab, prompts="q\nr", repeats=2)

    lab.run(attempt_id, g0)

    failure = lab.job(attempt_id).failure
    assert (failure["kind"], failure["reason"]) == (
        "output_missing",
        "1 answers instead of 4 (2 prompts × 2 repeats)",
    )
    assert "answers" in outputs_of(lab, attempt_id)
    with lab.database.read() as session:
        assert session.scalars(select(Answer)).all() == []


@both_databases
def test_ten_thousand_answers_are_stored_in_one_go(lab, g0):
    lab.tool(f'cp {lab.folder}/rows "$2/a.jsonl"')
    rows = [{"r": 1, "i": index, "q": f"问题 {index}", "a": "答" * 50, "n": 50, "s": 0.1} for index in range(10_000)]
    (lab.folder / "rows").write_text("\n".join(map(json.dumps, rows)))
    attempt_id = inferring(lab, prompts="\n".join(row["q"] for row in rows))

    lab.run(attempt_id, g0)

    assert lab.job(attempt_id).failure is None
    with lab.database.read() as session:
        assert session.get_one(Metric, (attempt_id, "answers")).value == 10_000
        assert session.get_one(Metric, (attempt_id, "request_seconds_p99")).count == 10_000


def started(lab, attempt_id):
    return eventually(lambda: lab.attempt(attempt_id).pid)


def in_background(work, *arguments):
    thread = threading.Thread(target=work, args=arguments)
    thread.start()
    return thread


@both_databases
def test_a_cancel_in_sql_stops_the_tool(lab, cpu0):
    lab.tool("sleep 600")
    attempt_id = lab.assigned(QUANTIZE, slot="cpu0")
    running = in_background(lab.run, attempt_id, cpu0)
    started(lab, attempt_id)

    lab.cancel(attempt_id)

    running.join(timeout=60)
    assert lab.job(attempt_id).state is JobState.CANCELLED
    assert lab.attempt(attempt_id).state is AttemptState.CANCELLED


@both_databases
def test_a_worker_that_is_stopped_gives_its_job_back_to_the_queue(lab, cpu0):
    lab.tool("echo half; sleep 600")
    attempt_id, stop = lab.assigned(QUANTIZE, slot="cpu0"), StopSignal()
    running = in_background(lab.run, attempt_id, cpu0, stop)
    started(lab, attempt_id)

    stop.request(StopReason.SHUTDOWN)

    running.join(timeout=60)
    assert lab.job(attempt_id).state is JobState.QUEUED
    assert lab.attempt(attempt_id).failure["reason"] == "its worker was stopped"
    with lab.database.read() as session:
        assert live_logs.read(session, attempt_id, 0, 100) == b"half\n"


@both_databases
def test_an_attempt_that_was_taken_away_is_killed_and_writes_nothing(lab, cpu0):
    lab.tool('trap "touch /dev/null" TERM; sleep 600')
    attempt_id = lab.assigned(QUANTIZE, slot="cpu0")
    running = in_background(lab.run, attempt_id, cpu0)
    started(lab, attempt_id)

    with lab.database.write() as session:
        lifecycle.lose(session, attempt_id, now=lab.database.now(session), why="taken", max_attempts=3)

    running.join(timeout=60)
    assert lab.attempt(attempt_id).state is AttemptState.LOST
    assert outputs_of(lab, attempt_id) == {}


def test_the_tool_is_killed_before_the_lease_runs_out_while_the_database_hangs(lab):
    lab = lab.with_lease(lease=7, margin=3, heartbeat=0.3)
    lab.tool("sleep 600")
    ended = []
    with owned(lab.settings, lab.database, SlotName.parse("cpu0")) as slot:
        attempt_id = lab.assigned(QUANTIZE, slot="cpu0")
        running = in_background(lambda: ended.append(lab.run(attempt_id, slot)))
        started(lab, attempt_id)

        with lab.database.write() as session:
            # Nobody else can write to the lease now; on SQLite, to nothing.
            session.execute(select(Lease).with_for_update())
            running.join(timeout=60)

    assert ended[0].state is AttemptState.LOST
    assert lab.attempt(attempt_id).state is AttemptState.RUNNING


def test_a_running_log_can_be_read_and_its_progress_seen(lab, cpu0):
    lab.tool("echo step 3/7; sleep 600")
    attempt_id, stop = lab.assigned(QUANTIZE, slot="cpu0"), StopSignal()
    running = in_background(lab.run, attempt_id, cpu0, stop)

    progress = eventually(lambda: lab.attempt(attempt_id).progress)

    assert progress == {"done": 3, "total": 7}
    with lab.database.read() as session:
        assert live_logs.read(session, attempt_id, 0, 100) == b"step 3/7\n"
    stop.request(StopReason.CANCELLED)
    running.join(timeout=60)


def test_two_conversions_of_one_type_run_one_after_the_other(lab, cpu0):
    mark = lab.folder / "inside"
    lab.tool(
        f"mkdir {mark} || exit 9; while [ ! -e {lab.folder}/go ]; do sleep 0.05; done;"
        f' mkdir -p "$1/t/node_0_0"; date +%N > "$1/t/node_0_0/x.c"; rmdir {mark}'
    )
    first, second = lab.assigned(CONVERT, slot="cpu0"), None
    with owned(lab.settings, lab.database, SlotName.parse("cpu1")) as cpu1:
        second = lab.assigned(CONVERT, slot="cpu1")
        one = in_background(lab.run, first, cpu0)
        started(lab, first)
        other = in_background(lab.run, second, cpu1)
        eventually(
            lambda: (
                "waiting for convert-qwen2_bf16" in (cpu1.work / f"{lab.job(second).id}.1/log").read_text()
                if (cpu1.work / f"{lab.job(second).id}.1/log").exists()
                else False
            )
        )

        (lab.folder / "go").touch()

        one.join(timeout=60)
        other.join(timeout=60)
    assert [lab.job(attempt_id).state for attempt_id in (first, second)] == [JobState.SUCCEEDED] * 2


def test_a_job_waiting_for_a_lock_can_be_cancelled(lab, cpu0):
    lab.tool("sleep 600")
    first = lab.assigned(CONVERT, slot="cpu0")
    with owned(lab.settings, lab.database, SlotName.parse("cpu1")) as cpu1:
        second, stop = lab.assigned(CONVERT, slot="cpu1"), StopSignal()
        one = in_background(lab.run, first, cpu0, stop)
        started(lab, first)
        other = in_background(lab.run, second, cpu1)
        eventually(lambda: lab.job(second).state is JobState.RUNNING)

        lab.cancel(second)

        other.join(timeout=60)
        assert lab.job(second).state is JobState.CANCELLED
        stop.request(StopReason.CANCELLED)
        one.join(timeout=60)
