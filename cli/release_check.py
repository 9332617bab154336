"""`tx81 releases check`: whether the tools installed on this machine are what their profile says."""

import json
import os
import subprocess
import sys
from pathlib import Path

from cli.session import Exit, Session, Stop
from cli.show import clean, row, table
from orchestrator.model.release_checks import ReleaseCheck

_HERE = Session()
_UNUSABLE = 2


def check(name: str, /, *, root: Path | None = None, session: Session = _HERE) -> Exit:
    """Look at a release on this machine: folders, conda environments, container, and what the tools' help says.

    Exit code 1 if a job would fail for what is found. The tools are asked for their help and do nothing else; those for
    cards only while nobody uses cards 0..3. TX81_… settings are those of this host's workers.

    Parameters
    ----------
    root
        Where the release is on this machine, if not where it was registered or TX81_RELEASE_ROOTS says.
    """
    with session.client() as client:
        release = client.release(name)
    roots = {name: str(root.absolute())} if root else {}
    env = os.environ | ({"TX81_RELEASE_ROOTS": json.dumps(roots)} if roots else {})
    asked = json.dumps({"name": release.name, "profile": release.profile, "root": release.root})
    done = subprocess.run(
        [sys.executable, "-m", "workers.release_check"], input=asked, env=env, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode not in (0, 1) or not done.stdout:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise Stop(lines[-1], Exit.USAGE if done.returncode == _UNUSABLE else Exit.FAULT)
    found = ReleaseCheck.model_validate_json(done.stdout)
    shown = table("", "what", "found")
    for finding in found.findings:
        row(shown, finding.level.value, finding.about, clean(finding.detail))
    session.emit(found, shown)
    return Exit.OK if found.ok else Exit.JOB_FAILED
