"""What is handed over repeats the run with the vendor's tools alone."""

import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from lab import Lab

pytestmark = [pytest.mark.xdist_group("lab"), pytest.mark.timeout(300)]


def test_the_script_of_a_bundle_gives_the_same_answers(lab: Lab, kcore: int, tmp_path: Path):
    job = lab.ended(lab.infer(kcore, spec={"max_tokens": 64}))
    archive = tmp_path / "bundle.tar.gz"
    archive.write_bytes(b"".join(lab.client.bundle(job.id, "gz", with_artifacts=True)))
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path, filter="data")
    folder, work = tmp_path / f"tx81-job-{job.id}", tmp_path / "work"
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=folder, check=True)

    done = subprocess.run(
        ["bash", folder / "repeat.sh"],
        env={"PATH": os.environ["PATH"], "REPEAT_WORK": str(work)}, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr + done.stdout
    (answers,) = (work / "out").glob("*.jsonl")
    repeated = {row["question"]: row["response"] for row in map(json.loads, answers.read_text().splitlines())}
    given = map(json.loads, (folder / "attempts/1/answers.jsonl").read_text().splitlines())
    assert repeated == {row["question"]: row["text"] for row in given}
    assert len(repeated) == 85
