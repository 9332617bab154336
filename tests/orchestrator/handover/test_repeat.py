"""The script is plain bash: paths are variables, and nothing else in it is read by the shell."""

import os
import subprocess
from pathlib import Path

import pytest

from orchestrator.handover.repeat import KCORE_HERE, RepeatedInput, RepeatedRun, script
from orchestrator.handover.secrets import MASK

NASTY = "a b;$(touch pwned)`touch pwned`'\"$HOME\\ *"


def a_run(tmp_path: Path, **facts) -> RepeatedRun:
    work = "/var/lib/tx81/work/lab1.g3/12.1"
    return RepeatedRun(
        **{
            "job": 12, "kind": "infer", "label": "12.1", "release": "r1", "root": "/opt/tools",
            "argv": ["python3", "/opt/tools/run.py", f"{work}/out", NASTY, f"--x={work}/model/qwen", "12..15"],
            "env": {"PATH": os.environ["PATH"], "HOME": work, "ODD": NASTY}, "cwd": f"{work}/run", "cards": "12..15",
            **facts,
        }
    )  # fmt: skip


def run(folder: Path, text: str, **variables: str) -> subprocess.CompletedProcess[str]:
    file = folder / "repeat.sh"
    file.write_text(text)
    subprocess.run(["bash", "-n", file], check=True)
    env = {"PATH": os.environ["PATH"], **variables}
    return subprocess.run(["bash", file], env=env, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A release whose tool prints what it was called with."""
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "run.py").write_text(
        "import json, os, sys\nprint(json.dumps([sys.argv[1:], dict(os.environ), os.getcwd()]))\n"
    )
    return tmp_path / "tools"


def test_words_reach_the_tool_as_they_were_and_paths_as_they_are_here(tmp_path: Path, tools: Path):
    here = tmp_path / "a work folder"

    done = run(tmp_path, script(a_run(tmp_path)), REPEAT_ROOT=str(tools), REPEAT_WORK=str(here), REPEAT_CARDS="0..3")

    argv, env, cwd = __import__("json").loads(done.stdout)
    assert argv == [f"{here}/out", NASTY, f"--x={here}/model/qwen", "0..3"]
    assert (env["HOME"], env["ODD"], cwd) == (str(here), NASTY, f"{here}/run")
    assert not (tmp_path / "pwned").exists()


def test_inputs_and_the_models_folder_are_laid_as_the_worker_does(tmp_path: Path, tools: Path):
    model, kcore = tmp_path / "weights of qwen", tmp_path / "kcore"
    model.mkdir()
    (model / "model.safetensors").write_text("w")
    (model / "config.json").write_text("{}")
    kcore.mkdir()
    (kcore / "kcore.bin").write_text("k")
    (tmp_path / "inputs").mkdir()
    (tmp_path / "inputs" / "config.json").write_text(f'{{"param_dir": "{KCORE_HERE}"}}')
    (tmp_path / "inputs" / "q.txt").write_text("你好\n")
    given = a_run(
        tmp_path, model="qwen", model_path="/models/qwen", config="inputs/config.json",
        inputs=[
            RepeatedInput("kcore", "node_0_0", "sha256:1", None),
            RepeatedInput("prompts", "my prompts.txt", "sha256:2", "inputs/q.txt"),
            RepeatedInput("gm", "w.gm", "sha256:3", "inputs/q.txt", copy_in="{model}/{gm_name}"),
        ],
    )  # fmt: skip
    places = {"REPEAT_ROOT": str(tools), "REPEAT_MODEL": str(model), "REPEAT_WORK": str(tmp_path / "a&b")}

    done = run(tmp_path, script(given), **places, REPEAT_KCORE=str(kcore))

    assert done.returncode == 0, done.stderr
    laid = tmp_path / "a&b"
    assert (laid / "inputs/kcore/node_0_0/kcore.bin").read_text() == "k"
    assert (laid / "inputs/prompts/my prompts.txt").read_text() == "你好\n"
    assert (laid / "model/qwen/w.gm").read_text() == "你好\n"
    assert (laid / "model/qwen/model.safetensors").read_text() == "w"
    assert (laid / "model/qwen/config.json").read_text() == f'{{"param_dir": "{laid}/inputs/kcore/node_0_0"}}\n'
    assert (model / "config.json").read_text() == "{}"


def test_weights_in_the_kernel_image_and_copied_scripts_are_laid_as_the_worker_does(tmp_path: Path, tools: Path):
    kcore, weights = tmp_path / "kcore", tmp_path / "w.gm"
    kcore.mkdir()
    (kcore / "kcore.bin").write_text("k")
    weights.write_text("w")
    work = "/var/lib/tx81/work/lab1.g3/12.1"
    given = a_run(
        tmp_path, cwd=f"{work}/scripts", argv=["python3", "run.py", f"{work}/out"], cards=None,
        folders={"{work}/scripts": "/opt/tools"},
        inputs=[
            RepeatedInput("gm", "w.gm", "sha256:3", None, copy_in="{kcore}/{gm_name}"),
            RepeatedInput("kcore", "node_0_0", "sha256:1", None, copy_in="{work}/chip_out/node_0_0"),
        ],
    )  # fmt: skip
    here = tmp_path / "here"
    places = {"REPEAT_ROOT": str(tools), "REPEAT_WORK": str(here), "REPEAT_GM": str(weights)}

    done = run(tmp_path, script(given), **places, REPEAT_KCORE=str(kcore))

    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (here / "chip_out/node_0_0").iterdir()) == ["kcore.bin", "w.gm"]
    assert (here / "scripts/run.py").is_file()


def test_what_the_archive_does_not_hold_has_to_be_named(tmp_path: Path, tools: Path):
    given = a_run(tmp_path, inputs=[RepeatedInput("kcore", "node_0_0", "sha256:abc", None)], env={"KEY": MASK})

    done = run(tmp_path, script(given), REPEAT_ROOT=str(tools))

    assert done.returncode != 0
    assert "REPEAT_KCORE" in done.stderr
    assert "sha256:abc" in done.stderr
    assert "REPEAT_ENV_KEY" in run(tmp_path, script(given), REPEAT_KCORE=str(tools)).stderr
