"""The short scripts that are in the places of the vendor's programs.

They start the interpreter and the source with which they were installed, whatever `python` is on PATH. They find their
tree by searching its marker in their own folder and the folders above it (`TX81_EMULATOR_ROOT` overrides this), so that
an unpacked archive works in any folder.
"""

import os
import shlex
import sys
from pathlib import Path

from emulator.clients.main import SCRIPTS
from emulator.compiler.convert import TOOLCHAIN
from emulator.tree import MARKER, ROOT_VARIABLE, Tree

ENVIRONMENTS = ("tx8_base", "tx8_txnn", "tx8_txnn_trans_4.38", "tx8_txnn_trans_4.46", "tx8_xla_llama3")
BASE = "base"
"""Conda's name for its own environment."""
SOURCE = Path(__file__).parents[2]

_SHELL = """\
#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
while [ "$here" != / ] && [ ! -e "$here/{marker}" ]; do here=$(dirname "$here"); done
: "${{{variable}:=$here}}"
export {variable}
PYTHONPATH={source}${{PYTHONPATH:+:$PYTHONPATH}}
export PYTHONPATH
exec {python} -P -m emulator.{module} {fixed}"$@"
"""
_PYTHON = """\
#!/usr/bin/env python3
import os
import sys

here = os.path.dirname(os.path.realpath(__file__))
while here != os.path.dirname(here) and not os.path.exists(os.path.join(here, {marker!r})):
    here = os.path.dirname(here)
os.environ.setdefault({variable!r}, here)
inherited = os.environ.get("PYTHONPATH")
os.environ["PYTHONPATH"] = {source!r} + (os.pathsep + inherited if inherited else "")
os.execv({python!r}, [{python!r}, "-P", "-m", "emulator.{module}", *{fixed!r}, *sys.argv[1:]])
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
_ACTIVATE = """\
# To be sourced from bash: source activate ENVIRONMENT; afterwards there is `conda activate ENVIRONMENT`.
conda() {
    local root
    root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
    if [ "$1" != activate ] || [ ! -d "$root/envs/$2/bin" ]; then
        echo "conda: expected: activate, and one of: $(ls "$root/envs" | tr '\\n' ' ')" >&2
        return 2
    fi
    PATH="$root/envs/$2/bin:$root/bin:${PATH#"$root/envs/${CONDA_DEFAULT_ENV:-}/bin:$root/bin:"}"
    CONDA_DEFAULT_ENV=$2
    export PATH CONDA_DEFAULT_ENV
}
conda activate "$1"
"""


def write_scripts(tree: Tree) -> None:
    """Every script of the two packages and of the driver."""
    launcher(tree.driver, "cards.driver")
    launcher(tree.convert / "convert_weight.py", "compiler.convert")
    launcher(tree.toolchain / "scripts" / "soc_compile.sh", "compiler.compile")
    launcher(tree.infer / "offline_auto_test.py", "engine.offline")
    launcher(tree.infer / "openai_completion_server.py", "server.main")
    for script in SCRIPTS:
        launcher(tree.infer / script, "clients.main", script)
    launcher(tree.script / "deploy" / "install_vllm.sh", "installation.deploy", "install_vllm.sh")
    launcher(tree.quantiser / "install_tx8_cpu.sh", "installation.deploy", "install_tx8_cpu.sh")
    write(tree.toolchain / "scripts" / "env_set.sh", _ENV_SET.format(variable=TOOLCHAIN), mode=0o644)
    link(tree.convert / "convert_weigth.py", "convert_weight.py")


def write_conda(tree: Tree) -> None:
    """Python, pip and `activate` as the conda folder has them, and `tsm_smi`, which is on PATH there."""
    python = shlex.quote(sys.executable)
    for environment in (BASE, *ENVIRONMENTS):
        bin_folder = tree.environment(environment) / "bin"
        export = "" if environment == BASE else f"CONDA_DEFAULT_ENV={environment}\nexport CONDA_DEFAULT_ENV\n"
        for name in ("python", "python3"):
            write(bin_folder / name, _SHIM.format(export=export, python=python))
        launcher(bin_folder / "pip", "installation.wheels", environment)
    write(tree.conda / "bin" / "activate", _ACTIVATE, mode=0o644)
    launcher(tree.conda / "bin" / "tsm_smi", "cards.smi")


def launcher_text(module: str, *fixed: str, python: bool = False) -> str:
    """A script that runs one of our modules, with `fixed` words before those it is given."""
    if python:
        return _PYTHON.format(
            marker=MARKER, variable=ROOT_VARIABLE, source=str(SOURCE), python=sys.executable, module=module,
            fixed=list(fixed),
        )  # fmt: skip
    return _SHELL.format(
        marker=MARKER,
        variable=ROOT_VARIABLE,
        source=shlex.quote(str(SOURCE)),
        python=shlex.quote(sys.executable),
        module=module,
        fixed="".join(f"{shlex.quote(word)} " for word in fixed),
    )


def launcher(path: Path, module: str, *fixed: str) -> None:
    """Put such a script in its place."""
    write(path, launcher_text(module, *fixed, python=path.suffix == ".py"))


def write(path: Path, text: str, mode: int = 0o755) -> None:
    """Renew a file in one step: a shell may be reading the old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(text, "utf-8")
    fresh.chmod(mode)
    os.replace(fresh, path)


def link(path: Path, to: str) -> None:
    """Renew a link in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.symlink_to(to)
    os.replace(fresh, path)
