"""Lays out the vendor's tree under one folder.

The scripts in it are thin: they start the interpreter and the source this was installed with, whatever `python` is on
PATH, and find their tree by their own location (`TX81_EMULATOR_ROOT` overrides it). Installing again over a tree
renews scripts and models and keeps events, cards, faults and converter output.
"""

import fcntl
import filecmp
import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from emulator import driver
from emulator.convert import TOOLCHAIN
from emulator.tool import Refused
from emulator.tree import MODEL_TYPES, ROOT_VARIABLE, TINY, Tree

SHIPPED = Path(__file__).parent / "tiny"
"""The small model and its questions that every tree gets."""
ENVIRONMENTS = ("tx8_base", "tx8_txnn", "tx8_txnn_trans_4.38", "tx8_txnn_trans_4.46")
_SOURCE = Path(__file__).parent.parent

_SHELL = """\
#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
: "${{{variable}:=$here/{up}}}"
export {variable}
PYTHONPATH={source}${{PYTHONPATH:+:$PYTHONPATH}}
export PYTHONPATH
exec {python} -P -m emulator.{module} "$@"
"""
_PYTHON = """\
#!/usr/bin/env python3
import os
import sys

here = os.path.dirname(os.path.realpath(__file__))
os.environ.setdefault({variable!r}, os.path.normpath(os.path.join(here, {up!r})))
inherited = os.environ.get("PYTHONPATH")
os.environ["PYTHONPATH"] = {source!r} + (os.pathsep + inherited if inherited else "")
os.execv({python!r}, [{python!r}, "-P", "-m", "emulator.{module}"] + sys.argv[1:])
"""
_ENV_SET = """\
# To be sourced, from bash or (in the converter's folder) from any shell.
{variable}=$(cd "$(dirname "${{BASH_SOURCE:-toolchain_release/scripts/env_set.sh}}")/.." && pwd)
export {variable}
"""
_SHIM = """\
#!/bin/sh
{export}exec {python} "$@"
"""


def install(tree: Tree, *, with_driver: bool, shipped: Path = SHIPPED) -> dict[str, str]:
    """Make or renew the tree; answers the places a user of it needs, by name."""
    with _claimed(tree):
        _make_folders(tree)
        _write_scripts(tree)
        _write_conda(tree)
        _copy(shipped / "quests_v1.txt", tree.prompts)
        _copy(shipped / "golden.jsonl", tree.golden)
        _lay_out_model(tree, shipped)
        if with_driver:
            driver.bring_up(tree)
    return places(tree)


def places(tree: Tree) -> dict[str, str]:
    """Absolute paths of what lies in a tree."""
    named = {
        "home": tree.home,
        "convert": tree.convert,
        "toolchain": tree.toolchain,
        "infer": tree.infer,
        "models": tree.models,
        "model": tree.models / TINY,
        "prompts": tree.prompts,
        "golden": tree.golden,
        "kcore": tree.node(MODEL_TYPES["qwen2_7b_bf16"]),
        "driver": tree.driver,
        "cards": tree.cards,
        "events": tree.events,
        "faults": tree.faults,
        "bin": tree.conda / "bin",
        "envs": tree.conda / "envs",
    }
    return {name: str(path) for name, path in named.items()}


@contextmanager
def _claimed(tree: Tree) -> Iterator[None]:
    """The folder is ours, empty or new, and no second install is at work in it."""
    try:
        tree.home.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise Refused(f"{tree.home} is not a folder") from None
    handle = os.open(tree.home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if not tree.marker.exists() and any(tree.home.iterdir()):
            raise Refused(f"{tree.home} holds something else; give an empty or new folder")
        _write(tree.marker, json.dumps({"python": sys.executable, "source": str(_SOURCE)}) + "\n", mode=0o644)
        yield
    finally:
        os.close(handle)


def _make_folders(tree: Tree) -> None:
    output = tree.toolchain / "codegen_tool" / "bin"
    for folder in (output, tree.infer, tree.faults, tree.models, tree.events.parent):
        folder.mkdir(parents=True, exist_ok=True)
    tree.events.touch()


def _write_scripts(tree: Tree) -> None:
    _launcher(tree, tree.driver, "driver")
    _launcher(tree, tree.convert / "convert_weight.py", "convert")
    _launcher(tree, tree.toolchain / "scripts" / "soc_compile.sh", "compile")
    _launcher(tree, tree.infer / "offline_auto_test.py", "offline")
    _launcher(tree, tree.infer / "openai_completion_server.py", "server")
    _launcher(tree, tree.conda / "bin" / "tx8-quant", "quantise")
    _write(tree.toolchain / "scripts" / "env_set.sh", _ENV_SET.format(variable=TOOLCHAIN), mode=0o644)
    _link(tree.convert / "convert_weigth.py", "convert_weight.py")


def _launcher(tree: Tree, path: Path, module: str) -> None:
    """A script that runs one of our modules in place of the vendor's program."""
    values = {
        "variable": ROOT_VARIABLE,
        "up": os.path.relpath(tree.home, path.parent),
        "module": module,
        "source": str(_SOURCE),
        "python": sys.executable,
    }
    if path.suffix == ".py":
        _write(path, _PYTHON.format(**values))
    else:
        quoted = {name: shlex.quote(values[name]) for name in ("source", "python")}
        _write(path, _SHELL.format(**{**values, **quoted}))


def _write_conda(tree: Tree) -> None:
    python = shlex.quote(sys.executable)
    for name in ("python", "python3"):
        _write(tree.conda / "bin" / name, _SHIM.format(export="", python=python))
        for environment in ENVIRONMENTS:
            export = f"CONDA_DEFAULT_ENV={environment}\nexport CONDA_DEFAULT_ENV\n"
            _write(tree.conda / "envs" / environment / "bin" / name, _SHIM.format(export=export, python=python))
    for environment in ENVIRONMENTS:
        _link(tree.conda / "envs" / environment / "bin" / "tx8-quant", "../../../bin/tx8-quant")


def _lay_out_model(tree: Tree, shipped: Path) -> None:
    """The model as downloaded, the TX81 config beside it, and a second folder of links made for inference."""
    official, adapted = tree.models / TINY, tree.models / f"{TINY}-TX81"
    files = sorted(path for path in (shipped / "model").iterdir() if path.is_file())
    for file in files:
        _copy(file, official / file.name)
        if file.name != "config.json":
            _link(adapted / file.name, f"../{TINY}/{file.name}")
    _copy(shipped / "tx81_config.json", official / "config_tx81.json")
    config = json.loads((shipped / "tx81_config.json").read_text("utf-8"))
    config["param_dir"] = str(tree.node(MODEL_TYPES["qwen2_7b_bf16"]))
    _write(adapted / "config.json", json.dumps(config, indent=2) + "\n", mode=0o644)


def _write(path: Path, text: str, mode: int = 0o755) -> None:
    """Renew a file in one step: a shell may be reading the old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(text, "utf-8")
    fresh.chmod(mode)
    os.replace(fresh, path)


def _copy(source: Path, target: Path) -> None:
    if target.is_file() and filecmp.cmp(source, target, shallow=False):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.copyfile(source, fresh)
    os.replace(fresh, target)


def _link(path: Path, to: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.symlink_to(to)
    os.replace(fresh, path)
