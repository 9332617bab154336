"""`make audit`: whether a locked version has a known vulnerability.

pip-audit asks the package index. An index that knows no vulnerabilities, or not the package, makes it report success
although nothing was compared; here that is an outcome of its own.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

LOCK = Path(__file__).parents[2] / "requirements.lock"
SECONDS = 900


class Outcome(IntEnum):
    """The exit code."""

    NONE_KNOWN = 0
    VULNERABLE = 1
    NOT_CHECKED = 3


def audited(program: str, lock: Path = LOCK) -> tuple[Outcome, str]:
    """What pip-audit says of the lock, in one line or in one for each vulnerability."""
    with TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        argv = [program, "--requirement", str(lock), "--disable-pip", "--require-hashes", "--progress-spinner", "off"]
        try:
            ran = subprocess.run(
                [*argv, "--format", "json", "--output", str(report)],
                capture_output=True, text=True, check=False, timeout=SECONDS,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as trouble:
            return Outcome.NOT_CHECKED, f"nothing was checked: {trouble}"
        try:
            document = json.loads(report.read_text())
        except (OSError, ValueError):
            last = (ran.stderr.strip().splitlines() or [f"exit code {ran.returncode}"])[-1]
            return Outcome.NOT_CHECKED, f"nothing was checked: pip-audit failed: {last[:500]}"
    return verdict(document)


def verdict(report: dict[str, Any]) -> tuple[Outcome, str]:
    """What a report of pip-audit means."""
    packages = report["dependencies"]
    found = [
        f"{package['name']} {package['version']}: {flaw['id']}, fixed in {', '.join(flaw['fix_versions']) or 'none'}"
        for package in packages
        for flaw in package.get("vulns", ())
    ]
    if found:
        return Outcome.VULNERABLE, "\n".join(found)
    missed = [package["name"] for package in packages if "skip_reason" in package]
    if missed or not packages:
        first = f", {missed[0]} for example" if missed else ""
        count = f"{len(missed)} of {len(packages)} packages were not checked{first}"
        return Outcome.NOT_CHECKED, f"{count}: the package index has no vulnerability data for them"
    return Outcome.NONE_KNOWN, f"no known vulnerability; packages compared: {len(packages)}"


def main(argv: Sequence[str]) -> int:
    """Audit with the program named in `argv`."""
    outcome, told = audited(argv[0])
    print(f"audit: {told}", file=sys.stdout if outcome is Outcome.NONE_KNOWN else sys.stderr)
    return outcome


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
