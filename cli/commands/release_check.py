"""The commands about one release: its profile, the checks of its tools on hosts, and checking them here."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from rich.console import Group
from rich.table import Table
from rich.text import Text

from api.client.client import ApiError
from api.documents.releases import ReleaseDetail
from cli.pages.layout import clean, local_time, row, table
from cli.session import HERE, Exit, Session, Stop, hint
from orchestrator.model.release_checks import Finding, Level, ReleaseCheck
from tx81.start import service_environment

_FORBIDDEN = 403
_STATE = Path(".tx81")
"""The state folder of a stack that was started in the current folder."""


def show(name: str, /, *, session: Session = HERE) -> Exit:
    """Show a release: its profile in full, and the latest check of each host."""
    with session.client() as client:
        release, checks = client.release(name), client.release_checks(name)
    known = table("host", "ok", "checked", "by", "errors")
    for check in checks:
        errors = "; ".join(f"{each.about}: {each.detail}" for each in check.findings if each.level is Level.ERROR)
        row(known, check.host, "yes" if check.ok else "NO", local_time(check.checked_at), check.by, errors)
    profile = yaml.safe_dump(release.profile, allow_unicode=True, sort_keys=False, width=120)
    heads = [Text(f"{clean(release.name)}  at {clean(release.root)}"), known if checks else Text("never checked\n")]
    document = {**release.model_dump(mode="json"), "checks": [check.model_dump(mode="json") for check in checks]}
    session.emit(document, Group(*heads, Text(clean(profile))))
    return Exit.OK


def check(name: str, /, *, root: Path | None = None, session: Session = HERE) -> Exit:
    """Check a release on this machine: folders, conda environments, container, and the flags in the tools' help.

    Exit code 1 if a job would fail. The tools are only asked for their help; those that use cards are only asked while
    cards 0..3 are free. Use the TX81_… settings of this host's workers. The result is stored on the server if the token
    has the scope operator.

    Parameters
    ----------
    root
        Folder of the release on this machine. Default: the registered one, or that in TX81_RELEASE_ROOTS.
    """
    with session.client() as client:
        release = client.release(name)
        found = looked_at(release, root)
        try:
            client.keep_release_check(found)
        except ApiError as refusal:
            if refusal.status != _FORBIDDEN:
                raise
            hint("the result is not stored: that needs a token with the scope operator")
    session.emit({**found.model_dump(mode="json"), "ok": found.ok}, findings_table(found.findings))
    return Exit.OK if found.ok else Exit.JOB_FAILED


def looked_at(release: ReleaseDetail, root: Path | None) -> ReleaseCheck:
    """What a check on this machine finds; nothing is stored."""
    elsewhere = {} if root is None else {"TX81_RELEASE_ROOTS": json.dumps({release.name: str(root.absolute())})}
    with TemporaryDirectory(prefix="tx81-check-") as own:
        # Without a state folder of this host's workers the check has its own: it leaves nothing in the current one.
        known = "TX81_STATE_DIR" in os.environ or _STATE.exists()
        state = {} if known else {"TX81_STATE_DIR": own}
        return _checked(release, service_environment(os.environ) | state | elsewhere)


def _checked(release: ReleaseDetail, env: Mapping[str, str]) -> ReleaseCheck:
    asked = release.model_dump_json(include={"name", "profile", "root", "digest"})
    done = subprocess.run(
        [sys.executable, "-P", "-m", "workers.release_check"], input=asked, env=env,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if not done.stdout:
        lines = done.stderr.strip().splitlines() or [f"the check failed with exit code {done.returncode}"]
        raise Stop(lines[-1], Exit.FAULT)
    return ReleaseCheck.model_validate_json(done.stdout)


def findings_table(findings: Iterable[Finding]) -> Table:
    """One row a finding."""
    shown = table("", "what", "found")
    for finding in findings:
        row(shown, finding.level.value, finding.about, finding.detail)
    return shown
