"""A card has one holder, and the log knows about everybody who thought otherwise."""

import json
import signal
import subprocess
from pathlib import Path

import pytest
from eventually import eventually

from emulator.cards.events import audit, record


def hold(desk, running, cards="0..3"):
    """An offline run that holds its cards until it is ended."""
    desk.fault(cards.split(".")[0], "slow 100")
    child = running(cn=cards, pp=desk.ask("Who are you?"))
    eventually(lambda: desk.events("open"))
    return child


def test_a_second_opener_is_refused_and_recorded(desk, running):
    first = hold(desk, running)

    second = desk.offline(cn="0..3")

    (violation,) = desk.events("violation")
    assert second.returncode == 1
    assert f"Device or resource busy (held by pid {first.pid})" in second.stderr
    assert violation["cards"] == [0]
    assert violation["holder"] == first.pid
    assert audit(desk.places["events"])


def test_other_cards_are_free_meanwhile(desk, running):
    hold(desk, running)

    second = desk.offline(cn="4..7", pp=desk.ask("Who are you?"))

    assert second.returncode == 0, second.stderr
    assert audit(desk.places["events"]) == []


def test_of_many_who_come_at_once_no_two_hold_a_card_and_every_refusal_is_on_record(desk, running):
    children = [running(cn="0..3", pp=desk.ask("Who are you?")) for _ in range(6)]

    codes = [child.wait(30) for child in children]

    refused = {child.pid for child, code in zip(children, codes, strict=True) if code == 1}
    held = [(event["event"], event["pid"]) for event in desk.events() if event["event"] in ("open", "close")]
    assert set(codes) <= {0, 1}
    assert 0 in codes
    assert {event["pid"] for event in desk.events("violation")} == refused
    assert all(opened == ("open", closed[1]) for opened, closed in zip(held[::2], held[1::2], strict=True))


def test_the_owner_is_written_on_the_card_while_it_is_held(desk, running):
    child = hold(desk, running)
    card = desk.places["cards"] / "dev-2"

    held = json.loads(card.read_text())
    child.send_signal(signal.SIGINT)
    child.wait(10)

    assert held["pid"] == child.pid
    assert card.read_text() == ""


def test_sigint_ends_a_run_with_its_cards_closed(desk, running):
    child = hold(desk, running)

    child.send_signal(signal.SIGINT)

    assert child.wait(10) == 130
    assert desk.events("close")[0]["pid"] == child.pid


def test_a_killed_run_frees_its_cards_and_is_known_as_unclean(desk, running):
    child = hold(desk, running)
    child.send_signal(signal.SIGKILL)
    child.wait(10)
    (desk.places["faults"] / "0").unlink()

    after = desk.offline(cn="0..3", pp=desk.ask("Who are you?"))

    unclean = desk.events("unclean")
    assert after.returncode == 0, after.stderr
    assert [event["cards"] for event in unclean] == [[0], [1], [2], [3]]
    assert unclean[0]["owner"]["pid"] == child.pid
    assert audit(desk.places["events"]) == []


def test_a_second_opener_that_died_before_reporting_is_still_found(tmp_path):
    log = tmp_path / "events.jsonl"
    log.write_text('{"ts": 1, "event": "open", "pid": 1, "cards": [0, 1, 2, 3]}\n')

    record(log, "opening", cards=[0, 1, 2, 3])

    (finding,) = audit(log)
    assert "died before it could say so" in finding


def test_a_torn_line_is_a_finding_and_not_a_hiding_place(tmp_path):
    log = tmp_path / "events.jsonl"
    log.write_text('{"ts": 1, "event": "viol')

    record(log, "close", cards=[0])

    assert "torn" in audit(log)[0]


def test_the_command_line_audit_tells_a_healthy_log_from_another(desk):
    healthy = desk.type(f"python -m emulator audit {desk.home}")
    record(desk.places["events"], "violation", cards=[3])
    broken = desk.type(f"python -m emulator audit {desk.home}")

    assert (healthy.returncode, broken.returncode) == (0, 1)


def test_without_the_driver_there_is_no_device(desk):
    (desk.home / "dev" / "accel_drv_mgr").unlink()

    done = desk.offline()

    assert done.returncode == 1
    assert "install silicon" in done.stderr


def test_a_refused_opener_after_a_crash_is_no_sign_of_double_booking(desk):
    desk.fault(0, "crash")
    crashed = desk.offline(cn="0..3", pp=desk.ask("Who are you?"))
    (desk.places["cards"] / "dev-2").unlink()

    refused = desk.offline(cn="0..3")

    assert (crashed.returncode, refused.returncode) == (-signal.SIGSEGV, 1)
    assert [event["cards"] for event in desk.events("refused")] == [[0, 1, 2, 3]]
    assert audit(desk.places["events"]) == []


@pytest.mark.parametrize("command", ["convert", "compile"])
def test_the_fixed_output_folder_has_one_user_too(desk, command):
    holder = subprocess.Popen(
        ["flock", "--exclusive", str(desk.node()), "sleep", "60"], stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        eventually(lambda: str(holder.pid) in Path("/proc/locks").read_text())
        if command == "convert":
            done = desk.convert(f"--backend-model-type qwen2_7b_bf16 --input_model {desk.model}")
        else:
            done = desk.compile(desk.node())
    finally:
        subprocess.run(["kill", "--", f"-{holder.pid}"], check=True)
        holder.wait(10)

    (violation,) = desk.events("violation")
    assert done.returncode == 1
    assert f"held by pid {holder.pid}" in done.stderr
    assert violation["folder"] == str(desk.node())
    assert (desk.node() / "kcore.bin").is_file()


def test_a_card_that_was_left_unclean_fails_until_the_driver_is_installed_where_kills_are_slow(desk, running):
    (desk.home / "variants").write_text("slow-kill\n")
    first = hold(desk, running)
    first.kill()
    first.wait()

    poisoned = desk.offline(cn="0..3", pp=desk.ask("Who are you?"))
    desk.type(f"{desk.places['driver']} install silicon")
    cured = desk.offline(cn="0..3", pp=desk.ask("Who are you?"))

    assert (poisoned.returncode, cured.returncode) == (1, 0), cured.stderr
    assert "HPGR: device error" in poisoned.stderr
