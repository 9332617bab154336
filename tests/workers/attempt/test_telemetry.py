"""Cards are measured while a tool runs, and never at its cost."""

import stat
from pathlib import Path

import pytest
from eventually import eventually

from orchestrator.model.telemetry import TelemetryRule
from workers.attempt.telemetry import Telemetry


def _measuring(folder: Path, script: str, *, seconds: float = 5) -> Telemetry:
    """Cards 4 and 5 are measured with a script, which gets the card as its second word and runs in `folder`."""
    program = folder / "smi"
    program.write_text(f"#!/bin/sh\ncd {folder}\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    rule = TelemetryRule(
        argv=("smi", "-i", "{card}"), environment={"PATH": f"{folder}:/usr/bin:/bin"},
        patterns=(r"(?P<celsius>\d+)C",), every=1, seconds=seconds,
    )  # fmt: skip
    return Telemetry(rule, (4, 5), {"root": "/", "devices": "/dev"}, first=0)


def test_every_card_of_the_attempt_is_measured_while_the_tool_runs(tmp_path):
    telemetry = _measuring(tmp_path, 'echo "4$2C"')
    with telemetry:
        eventually(lambda: telemetry.samples)

    celsius = telemetry.document["measures"]["celsius"]
    assert (celsius["min"], celsius["max"], celsius["max_card"]) == (44, 45, 5)


@pytest.mark.parametrize("script", ["echo 44C; exit 1", "echo nothing of use", "head -c 100000 /dev/zero; echo 44C"])
def test_a_program_that_fails_or_says_something_else_leaves_no_sample(tmp_path, script):
    telemetry = _measuring(tmp_path, f"mkdir called$2\n{script}")
    with telemetry:
        eventually((tmp_path / "called5").is_dir)

    assert telemetry.document is None


@pytest.mark.parametrize("seconds", [60, 0.2])
def test_a_program_that_hangs_is_ended_in_time_or_with_the_block(tmp_path, seconds):
    telemetry = _measuring(tmp_path, "echo $$ >pid.new; mv pid.new pid; exec sleep 1000", seconds=seconds)
    with telemetry:
        eventually((tmp_path / "pid").exists)
        first = int((tmp_path / "pid").read_text())
        if seconds < 1:
            eventually(lambda: int((tmp_path / "pid").read_text()) != first)
    last = int((tmp_path / "pid").read_text())

    eventually(lambda: not Path(f"/proc/{first}").exists() and not Path(f"/proc/{last}").exists())
    assert telemetry.document is None


def test_without_the_program_a_rule_or_cards_nothing_is_measured():
    rule = TelemetryRule(argv=("no-such-smi",), environment={"PATH": "/usr/bin"}, patterns=(r"(?P<watt>\d+)W",))
    for telemetry in (Telemetry(rule, (0,), {}), Telemetry(None, (0,), {}), Telemetry(rule, (), {})):
        with telemetry:
            pass
        assert telemetry.document is None
