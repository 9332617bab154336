"""An emulated host whose model is converted and compiled once a session, and laid out anew for every test."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from emulator.installation.install import install
from emulator.tree import Tree
from tests.emulator.desk import BF16, INT8, Desk, end

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """A tree on which the guide's commands were typed up to both kcores, with what the terminal showed."""
    home, work = tmp_path_factory.mktemp("built") / "tree", tmp_path_factory.mktemp("desk")
    command = [sys.executable, "-m", "emulator", "install", str(home)]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    desk = Desk(json.loads(shown.splitlines()[-1]), work)
    gm = work / f"{desk.model.name}_quant_bfloat16.gm"
    desk.shown = {
        "quantise": desk.type(
            f"tx8-quant -mp {desk.model}/ -dv cpu -qm weight_only -wm rtn -if ppl -dtype bfloat16 -s {work}"
        ),
        "convert": desk.convert(f"--backend-model-type qwen2_7b_bf16 --input_model {desk.model}"),
        "convert int8": desk.convert(
            f"--backend-model-type qwen2_7b_quant --input-model {desk.model} --q-model-path {gm}"
        ),
        "compile": desk.compile(desk.node(BF16)),
        "compile int8": desk.compile(desk.node(INT8)),
    }
    desk.gm = gm
    return desk


@pytest.fixture
def desk(built, tmp_path):
    """A fresh tree with the driver up, the bf16 kcore in its place, and an empty working folder."""
    work = tmp_path / "work"
    work.mkdir()
    fresh = Desk(install(Tree(tmp_path / "tree"), with_driver=True), work)
    shutil.copytree(built.node(BF16), fresh.node(BF16))
    return fresh


@pytest.fixture
def running(desk):
    """Start offline runs that end with the test."""
    children = []

    def start(**flags):
        children.append(desk.start_offline(**flags))
        return children[-1]

    yield start
    for child in children:
        end(child)


@pytest.fixture
def serving(desk):
    """Start servers that end with the test."""
    servers = []

    def start(**flags):
        servers.append(desk.start_server(**flags))
        return servers[-1]

    yield start
    for server in servers:
        server.gone()
