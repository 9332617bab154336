"""An audit that compared nothing does not pass."""

import json
from pathlib import Path

import pytest

from tests.house.audit import Outcome, audited, verdict

SOUND = {"name": "click", "version": "8.3.0", "vulns": []}
UNKNOWN = {"name": "rich", "skip_reason": "Dependency not found on PyPI and could not be audited: rich (14.0)"}
FLAWED = {"name": "jinja2", "version": "2.4.1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3.1.6"]}]}


@pytest.mark.parametrize(
    ("packages", "outcome", "told"),
    [
        ([SOUND], Outcome.NONE_KNOWN, "no known vulnerability; packages compared: 1"),
        ([SOUND, FLAWED], Outcome.VULNERABLE, "jinja2 2.4.1: PYSEC-1, fixed in 3.1.6"),
        ([UNKNOWN, FLAWED], Outcome.VULNERABLE, "jinja2"),
        ([UNKNOWN, UNKNOWN], Outcome.NOT_CHECKED, "2 of 2 packages were not checked"),
        ([SOUND, UNKNOWN], Outcome.NOT_CHECKED, "1 of 2 packages were not checked, rich"),
        ([], Outcome.NOT_CHECKED, "0 of 0"),
    ],
)
def test_a_report_means_what_was_compared(packages, outcome, told):
    found, line = verdict({"dependencies": packages})

    assert found is outcome
    assert told in line


def program(folder: Path, script: str) -> str:
    """In the place of pip-audit; `$report` is the file that it writes."""
    file = folder / "pip-audit"
    file.write_text(f'#!/bin/sh\nfor report in "$@"; do :; done\n{script}\n')
    file.chmod(0o755)
    return str(file)


def test_the_report_is_read_whatever_the_exit_code(tmp_path):
    (tmp_path / "report.json").write_text(json.dumps({"dependencies": [FLAWED]}))

    outcome, _ = audited(program(tmp_path, f'cp {tmp_path}/report.json "$report"; exit 1'))

    assert outcome is Outcome.VULNERABLE


@pytest.mark.parametrize("script", ["echo 'cannot resolve the host' >&2; exit 1", "exit 0", 'echo "{" > "$report"'])
def test_an_audit_without_a_report_has_checked_nothing(tmp_path, script):
    outcome, told = audited(program(tmp_path, script))

    assert outcome is Outcome.NOT_CHECKED
    assert "nothing was checked" in told


def test_an_audit_without_its_program_has_checked_nothing(tmp_path):
    assert audited(str(tmp_path / "pip-audit"))[0] is Outcome.NOT_CHECKED
