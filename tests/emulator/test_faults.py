"""Every injected fault shows as the trouble it stands for."""

import signal

import pytest
from eventually import eventually

from emulator.faults import Fault, FaultFile, parse
from emulator.tool import Refused
from emulator.tree import Tree


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("slow 50", [Fault("slow", 50)]),
        ("  crash after=3 times=1  # once", [Fault("crash", after=3, times=1)]),
        ("# nothing\n\ncorrupt\nsilent 10 after=2\n", [Fault("corrupt"), Fault("silent", 10, 2)]),
    ],
)
def test_a_fault_file_is_read_line_by_line(text, faults):
    assert parse(text) == faults


@pytest.mark.parametrize("text", ["slow", "crash 5", "explode", "slow -1", "hang after=-1", "slow 5 often", "slow５０"])
def test_a_line_that_is_no_fault_is_refused(text):
    with pytest.raises(Refused, match="not a fault"):
        parse(text)


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
