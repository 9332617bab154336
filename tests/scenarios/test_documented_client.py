"""The Python on the page about the client, run as it is printed where only the client is installed."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from client_only import ROOT, install_client
from lab import Lab

pytestmark = [pytest.mark.xdist_group("lab"), pytest.mark.timeout(300)]


def test_ten_lines_submit_a_job_wait_and_print_its_answers(lab: Lab, tmp_path: Path):
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "client.md").read_text(), re.DOTALL)
    compiled = lab.run(lab.pipeline())["compile"]
    env = {**os.environ, "TX81_SERVER": lab.server, "TX81_TOKEN": lab.token}

    ran = subprocess.run(
        [install_client(tmp_path / "client"), "-c", program.replace('"job": 2', f'"job": {compiled.id}')],
        env=env, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert ran.stderr == ""
    assert ran.stdout.startswith("succeeded\n0\tWho are you?\t<think>\n")
    assert "I am a tiny test model." in ran.stdout
    assert "1\t你是谁？\t<think>\n" in ran.stdout
    assert "我是一个微型测试模型" in ran.stdout
    assert len([line for line in program.splitlines() if line]) <= 10
