"""Every injected fault shows as the trouble it stands for."""

import re
import signal
from pathlib import Path

import pytest
from eventually import eventually

from emulator.cards.events import audit
from emulator.cards.faults import Fault, FaultFile, parse
from emulator.tool import Refused
from emulator.tree import Tree
from tests.emulator.desk import INT8


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("slow 50", [Fault("slow", 50)]),
        ("  crash after=3 times=1  # once", [Fault("crash", after=3, times=1)]),
        ("corrupt 1 after=2\nopen-fail", [Fault("corrupt", 1, 2), Fault("open-fail")]),
        ("# nothing\n\ncorrupt\nsilent 10 after=2\n", [Fault("corrupt"), Fault("silent", 10, 2)]),
    ],
)
def test_a_fault_file_is_read_line_by_line(text, faults):
    assert parse(text, "7") == faults


@pytest.mark.parametrize(
    ("text", "where"),
    [
        *((text, "7") for text in ("slow", "crash 5", "explode", "slow -1", "hang after=-1", "slow 5 so", "slow５０")),
        ("full", "7"),
        ("dead", "convert"),
    ],
)
def test_a_line_that_is_no_fault_there_is_refused(text, where):
    with pytest.raises(Refused, match=f"faults/{where}: not a fault"):
        parse(text, where)


def test_a_limited_fault_strikes_that_many_processes(desk):
    desk.fault(7, "slow 1 after=2 times=2\ncorrupt")
    files = [FaultFile(Tree(desk.home), "7") for _ in range(3)]

    slow = [[fault.kind for fault in file.due(2)].count("slow") for file in files]

    assert slow == [1, 1, 0]
    assert (desk.places["faults"] / "7").read_text() == "corrupt\n"
    assert len(desk.events("fault")) == 2 + 3


def test_a_fault_waits_for_its_step_and_goes_with_its_file(desk):
    file = FaultFile(Tree(desk.home), "7")
    desk.fault(7, "corrupt after=2")

    before, then = file.due(1), file.due(2)
    (desk.places["faults"] / "7").unlink()

    assert (before, then, file.due(3)) == ([], [Fault("corrupt", after=2)], [])


def test_a_corrupt_card_answers_wrong_and_ends_well(desk):
    desk.fault(2, "corrupt after=3")

    done = desk.offline(pp=desk.ask("Who are you?"), gp=desk.places["golden"])

    (answer,) = desk.responses()
    assert done.returncode == 0
    assert answer["similarity"] < 1.0
    assert answer["finish_reason"] == "stop"


def test_a_card_may_spoil_one_token_only(desk):
    desk.fault(2, "corrupt 1 after=3")
    desk.offline(pp=desk.ask("Who are you?"))

    (desk.places["faults"] / "2").unlink()
    desk.offline(pp=desk.ask("Who are you?"))

    spoiled, right = (row["response"] for row in desk.responses())
    assert spoiled != right
    assert spoiled[:4] == right[:4]
    assert spoiled[-20:] == right[-20:]


def test_a_card_may_cry_for_help_and_work_all_the_same(desk):
    desk.fault(2, "alarm after=3")

    done = desk.offline(pp=desk.ask("Who are you?"), gp=desk.places["golden"])

    assert done.returncode == 0
    assert done.stderr.count("HPGR: device error") == 1
    assert desk.responses()[0]["similarity"] == 1.0


@pytest.mark.parametrize("where", ["2", "convert"])
def test_a_flood_of_log_lines_has_the_size_it_was_given(desk, where):
    desk.fault(where, "flood 300")

    if where == "convert":
        done = desk.convert(f"--backend-model-type qwen2_7b_bf16 --input_model {desk.model}")
    else:
        done = desk.offline(pp=desk.ask("Who are you?"))

    assert done.returncode == 0, done.stderr
    assert 300_000 <= len(done.stdout) < 310_000


def test_only_the_group_of_the_faulty_card_is_struck(desk):
    desk.fault(2, "corrupt")

    desk.offline(pp=desk.ask("Who are you?"), gp=desk.places["golden"], bs=3)

    assert {row["group"]: row["similarity"] == 1.0 for row in desk.responses()} == {0: False, 1: True, 2: True}


def test_a_device_error_ends_the_run_and_keeps_earlier_answers(desk):
    desk.fault(0, "error after=60")

    done = desk.offline()

    assert done.returncode == 1
    assert "RuntimeError: TXDA error: (txStreamSynchronize(stream)) = device 0" in done.stderr
    assert desk.responses()
    assert desk.events("close")[0]["tokens"] == 60


def test_a_dead_card_cannot_be_opened(desk):
    desk.fault(5, "dead")

    done = desk.offline(cn="4..7")

    assert done.returncode == 1
    assert "HPGR: device error" in done.stderr
    assert "TXDA error: (txGetDevice(" in done.stderr
    assert desk.events("open") == []


@pytest.mark.parametrize(
    ("fault", "reason", "after"),
    [
        ("dead after=5", "(txStreamSynchronize(stream)) = device 5 is lost", "HPGR: device error"),
        ("gone", "device 5 is lost", "no device: "),
        ("gone after=5", "(txStreamSynchronize(stream)) = device 5 is lost", "no device: "),
        ("stuck", "dev-5: Device or resource busy (held by nobody)", "Device or resource busy"),
    ],
)
def test_what_ails_a_card_for_good_stays_until_the_driver_is_installed_again(desk, fault, reason, after):
    desk.fault(5, fault)
    question = desk.ask("Who are you?")

    first, second = (desk.offline(cn="4..7", pp=question) for _ in range(2))
    installed = desk.type(f"{desk.places['driver']} install silicon")
    third = desk.offline(cn="4..7", pp=question)

    assert [done.returncode for done in (first, second, installed, third)] == [1, 1, 0, 0], third.stderr
    assert reason in first.stderr
    assert after in second.stderr
    assert audit(desk.places["events"]) == []


def test_a_card_that_is_held_and_ill_is_a_violation_still(desk, running):
    desk.fault(0, "slow 100")
    running(cn="0..3", pp=desk.ask("Who are you?"))
    eventually(lambda: desk.events("open"))
    desk.fault(1, "stuck")

    second = desk.offline(cn="0..3")

    assert second.returncode == 1
    assert desk.events("violation")


def test_a_card_may_fail_to_open_once(desk):
    desk.fault(1, "open-fail times=1")

    first, second = (desk.offline(pp=desk.ask("Who are you?")) for _ in range(2))

    assert (first.returncode, second.returncode) == (1, 0)
    assert "cannot open device 1" in first.stderr


def test_a_crash_once_leaves_an_unclean_card_and_works_the_second_time(desk):
    desk.fault(1, "crash after=5 times=1")

    first = desk.offline(pp=desk.ask("Who are you?"))
    second = desk.offline(pp=desk.ask("Who are you?"))

    assert first.returncode == -signal.SIGSEGV
    assert second.returncode == 0, second.stderr
    assert desk.events("unclean")


def test_a_hung_card_ends_by_sigterm_but_not_by_sigint(desk, running):
    desk.fault(3, "hang after=2")
    child = running(pp=desk.ask("Who are you?"))
    eventually(lambda: desk.events("fault"))

    child.send_signal(signal.SIGINT)
    eventually(lambda: "txStreamSynchronize" in desk.terminal())
    still_there = child.poll() is None
    child.send_signal(signal.SIGTERM)

    assert still_there
    assert child.wait(10) == -signal.SIGTERM


def test_a_deaf_process_that_hangs_ends_by_sigkill_alone(desk, running):
    desk.fault(3, "deaf\nhang after=2")
    child = running(pp=desk.ask("Who are you?"))
    eventually(lambda: len(desk.events("fault")) == 2)

    child.send_signal(signal.SIGTERM)
    child.send_signal(signal.SIGINT)
    ignored = int(re.search(r"SigIgn:\s+(\w+)", Path(f"/proc/{child.pid}/status").read_text())[1], 16)
    child.kill()

    assert all(ignored & 1 << number - 1 for number in (signal.SIGINT, signal.SIGTERM))
    assert child.wait(10) == -signal.SIGKILL


def test_a_fault_may_be_dropped_into_a_run(desk, running):
    desk.fault(0, "slow 50")
    child = running()
    eventually(lambda: desk.events("fault"))

    desk.fault(0, "error")

    assert child.wait(10) == 1


@pytest.mark.parametrize("kind", ["error after=1", "crash after=1"])
def test_a_conversion_that_dies_on_the_way_cannot_be_compiled(desk, kind):
    desk.fault("convert", kind)

    converted = desk.convert(f"--backend-model-type qwen2_7b_bf16 --input_model {desk.model}")
    compiled = desk.compile(desk.node())

    assert converted.returncode not in (0, 2)
    assert "layer 1/2" in converted.stdout
    assert "layer 2/2" not in converted.stdout
    assert compiled.returncode == 2
    assert "no converted model" in compiled.stderr


def test_a_conversion_on_a_full_disk_says_so_and_cannot_be_compiled(desk):
    desk.fault("convert", "full after=1")

    converted = desk.convert(f"--backend-model-type qwen2_7b_bf16 --input_model {desk.model}")
    compiled = desk.compile(desk.node())

    assert converted.returncode == 1
    assert "No space left on device" in converted.stderr
    assert "no converted model" in compiled.stderr


def test_a_long_conversion_shows_how_far_it_is(desk):
    desk.fault("convert", "long 50 after=1")

    done = desk.convert(f"--backend-model-type qwen2_7b_bf16 --input_model {desk.model}")

    assert done.returncode == 0, done.stderr
    told = [line for line in done.stdout.splitlines() if "long step" in line]
    assert told == [f"[convert] layer {layer}/50 of a long step" for layer in range(1, 51)]


@pytest.mark.parametrize("stage", ["convert", "quant"])
def test_a_corrupt_stage_ends_well_and_the_answers_are_wrong(desk, stage):
    desk.fault(stage, "corrupt 6")
    gm = desk.tx81 / f"{desk.model.name}_quant_bfloat16.gm"

    done = desk.type(
        f"tx8-quant -mp {desk.model} -s {desk.tx81} && cd {desk.places['convert']} && "
        f"source toolchain_release/scripts/env_set.sh && "
        f"python convert_weight.py --backend-model-type qwen2_7b_quant --input_model {desk.model} --q-model-path {gm} "
        f"&& cd toolchain_release && bash ./scripts/soc_compile.sh $PWD {desk.node(INT8)}"
    )
    desk.use(INT8)
    answered = desk.offline(cd=desk.node(INT8), pp=desk.ask("Who are you?"), gp=desk.places["golden"])

    assert (done.returncode, answered.returncode) == (0, 0), done.stderr + answered.stderr
    assert desk.responses()[0]["similarity"] < 1.0


def test_a_failed_compilation_leaves_no_kcore(desk):
    desk.fault("compile", "silent 1\nerror after=2")

    done = desk.compile(desk.node())

    assert done.returncode == 1
    assert not (desk.node() / "kcore.bin").exists()


def test_a_failed_quantisation_leaves_no_file(desk):
    desk.fault("quant", "error after=3")

    done = desk.type(f"tx8-quant -mp {desk.model} -s {desk.work}")

    assert done.returncode == 1
    assert list(desk.work.iterdir()) == []
