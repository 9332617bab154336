"""The command lines of README and of some pages of the docs, run in a lab from the text itself."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from documented import ROOT, Command, commands_of
from lab import Lab, running_lab

from orchestrator.settings import url_of_sqlite

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("documented")]

RUN = "tx81 run --model DeepSeek-R1-Distill-Qwen-Tiny --backend-type qwen2_7b_bf16"

JUDGED = {0, 1, 2}
"""Exit codes of a comparison: better or the same, worse, not judged."""

ELSEWHERE = ("make ", "curl ", "tx81 load 41 --prompts quests_v1.txt --rate")
"""What `tests/cli/test_documented_commands.py` lists with a reason."""


@pytest.fixture(scope="module")
def documented_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, Path]]:
    """A lab of its own, whose first job has number 1, and a folder in which the stack seems to have been started."""
    folder, here = tmp_path_factory.mktemp("lab"), tmp_path_factory.mktemp("here")
    with running_lab(folder, url_of_sqlite(folder / "tx81.db")) as made:
        (here / ".tx81").mkdir()
        (here / ".tx81" / "tree").symlink_to(made.tree["home"])
        yield made, here


class Shell:
    """Types command lines as a person would who has `tx81` on the path."""

    def __init__(self, lab: Lab, here: Path) -> None:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._env = {**os.environ, "TX81_SERVER": lab.server, "TX81_TOKEN": lab.token, "PATH": path}
        self._here = here

    def typed(self, text: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", text], env=self._env, cwd=self._here, capture_output=True, text=True, check=False
        )

    def page(self, name: str, numbers: Mapping[str, str], codes: Mapping[str, set[int]]) -> list[Command]:
        """Run the commands of a page, with these words in the place of its numbers; returns what was run."""
        run = []
        for command in commands_of(ROOT / name):
            if not command.text.startswith(ELSEWHERE):
                done = self.typed(_with(numbers, command.text))
                wanted = next((code for start, code in codes.items() if command.text.startswith(start)), {0})
                assert done.returncode in wanted, f"{command}\n{done.stdout}\n{done.stderr}"
                assert ("tx81: " in done.stderr) == (wanted == {5}), f"{command}\n{done.stderr}"
                run.append(command)
        return run


@pytest.fixture(scope="module")
def shell(documented_lab: tuple[Lab, Path]) -> Shell:
    return Shell(*documented_lab)


def _with(numbers: Mapping[str, str], text: str) -> str:
    return re.sub("|".join(map(re.escape, numbers)), lambda found: numbers[found[0]], text) if numbers else text


@pytest.fixture(scope="module")
def readme(shell: Shell) -> list[Command]:
    """The commands of README, run in their order: what the other pages build on."""
    return shell.page("README.md", {"305": "3"}, {"tx81 run --model nope": {5}})


def test_the_commands_of_readme_work_as_printed(readme, shell):
    assert len(readme) >= 10
    shown = shell.typed("tx81 answers 3").stdout
    assert "I am a tiny test model" in shown
    assert "我是一个微型测试模型" in shown


def test_the_summary_of_a_run_is_last_and_names_pipeline_and_jobs(readme, shell):
    done = shell.typed(f"{RUN} --ask -1 --ask '你是谁？' --golden golden_v1.jsonl --require report --name asked")

    pipeline, exact, see = done.stdout.splitlines()[-3:]
    wanted = r"pipeline \d+ succeeded: job \d+ convert from cache \(job 1\), .*, job \d+ infer on lab1\.g\d"
    assert re.fullmatch(wanted, pipeline), done.stdout
    assert re.match(r"1 of 1 answers equal the golden answers; tokens/s [\d.,]+; latency p50 ", exact), done.stdout
    assert re.fullmatch(r"see: tx81 answers \d+", see)
    assert done.returncode == 0


def test_wrong_answers_are_shown_with_their_difference(readme, shell, documented_lab):
    lab, here = documented_lab
    known = Path(lab.tree["golden"]).read_text("utf-8").splitlines()
    (right,) = (line for line in known if json.loads(line)["question"] == "Who are you?")
    (here / "off.jsonl").write_text(f'{{"question": "你是谁？", "answer": "我是谁？"}}\n{right}\n', "utf-8")
    failed = shell.typed(f"{RUN} --ask '你是谁？' --ask 'Who are you?' --golden off.jsonl")

    assert failed.returncode == 1
    (job,) = re.findall(r"tx81 answers (\d+)", failed.stdout)
    wrong = shell.typed(f"tx81 answers {job} --wrong")
    assert wrong.returncode == 0
    assert "question 0 on lab1." in wrong.stdout
    assert "first differing character 0: golden '我是谁？'" in wrong.stdout
    assert "\n-我是谁？\n" in wrong.stdout
    assert "Who are you?" not in wrong.stdout
    csv = shell.typed(f"tx81 answers {job} --question 1 -o csv").stdout
    assert csv.startswith("attempt_id,repeat,index,batch,")
    assert "Who are you?" in csv
    assert "你是谁" not in csv
    assert '"exact": false' in shell.typed(f"tx81 answers {job} --question 0 -o json").stdout
    assert "there are more than 1" in shell.typed(f"tx81 answers {job} -n 1").stderr


def test_the_commands_about_results_work(readme, shell):
    again = shlex.join(["tx81", "stress", "--model", "DeepSeek-R1-Distill-Qwen-Tiny", "--kcore", "2", "--wait",
                        "--prompts", "q6.txt", "--golden", "golden_v1.jsonl", "--times", "3"])  # fmt: skip
    assert shell.typed(again).returncode == 0

    assert shell.page("docs/results.md", {"job:1": "job:3", "job:2": "job:6"}, {"tx81 compare": JUDGED})


def test_the_commands_about_golden_answers_work(readme, shell, documented_lab):
    lab, here = documented_lab
    lines = Path(lab.tree["golden"]).read_text("utf-8").splitlines()
    (here / "answers.txt").write_text("\n".join(lines), "utf-8")
    (here / "quests_v1.txt").write_bytes(Path(lab.tree["prompts"]).read_bytes())

    assert shell.page("docs/golden.md", {"qwen2-7b": "DeepSeek-R1-Distill-Qwen-Tiny"}, {})


def test_the_commands_about_servers_work(readme, shell, documented_lab):
    lab, here = documented_lab
    (here / "quests_v1.txt").write_text("你是谁？\n", "utf-8")
    started, endpoints, stop, load, *others = [
        command.text for command in commands_of(ROOT / "docs/serving.md") if not command.text.startswith(ELSEWHERE)
    ]
    assert shell.typed(started.replace("--kcore 12", "--kcore 2")).returncode == 0
    assert shell.typed(endpoints).returncode == 0
    server = str(lab.client.endpoints.all()[0].job_id)

    for text in (load, stop, *others):
        done = shell.typed(text.replace("41", server))
        assert done.returncode == 0, f"{text}\n{done.stderr}"
