"""Creates the vendor's tree under one folder, with the guide's installation chapters done.

Installing again over a tree updates scripts and models and keeps events, cards, faults and converter output.
"""

import fcntl
import filecmp
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from emulator.cards import driver
from emulator.engine.deployed import require_engine
from emulator.installation.deploy import deploy
from emulator.installation.packages import marker_text, write_image, write_wheels
from emulator.installation.scripts import ENVIRONMENTS, launcher, link, write, write_conda, write_scripts
from emulator.samples.shipped import SHIPPED
from emulator.tool import Refused
from emulator.tree import MODEL_TYPES, TINY, Tree


def install(tree: Tree, *, with_driver: bool, shipped: Path = SHIPPED, variants: Sequence[str] = ()) -> dict[str, str]:
    """Make or renew the tree, with these variants; answers the places a user of it needs, by name."""
    with _claimed(tree):
        write(tree.variants, "".join(f"{name}\n" for name in variants), mode=0o644)
        lay_out(tree, shipped)
        _deploy(tree)
        _lay_out_model(tree, shipped)
        if with_driver:
            driver.bring_up(tree)
    return places(tree)


def lay_out(tree: Tree, shipped: Path = SHIPPED) -> None:
    """The tree as its packages unpack: nothing of it installed yet."""
    _make_folders(tree)
    write_scripts(tree)
    write_conda(tree)
    write_wheels(tree)
    write_image(tree)
    _copy(shipped / "quests_v1.txt", tree.prompts)
    _copy(shipped / "golden.jsonl", tree.golden)


def _deploy(tree: Tree) -> None:
    """Do what the guide's installing scripts do, for every environment."""
    launcher(tree.conda / "bin" / "tx8-quant", "compiler.quantise")
    for environment in ENVIRONMENTS:
        link(tree.environment(environment) / "bin" / "tx8-quant", "../../../bin/tx8-quant")
    try:
        require_engine(tree)
    except Refused:
        deploy(tree, tree.engine)


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
        write(tree.marker, marker_text(), mode=0o644)
        yield
    finally:
        os.close(handle)


def _make_folders(tree: Tree) -> None:
    output = tree.toolchain / "codegen_tool" / "bin"
    for folder in (output, tree.infer, tree.faults, tree.models, tree.events.parent):
        folder.mkdir(parents=True, exist_ok=True)
    tree.events.touch()


def _lay_out_model(tree: Tree, shipped: Path) -> None:
    """The model as downloaded, the TX81 config beside it, and a second folder of links made for inference."""
    official, adapted = tree.models / TINY, tree.models / f"{TINY}-TX81"
    files = sorted(path for path in (shipped / "model").iterdir() if path.is_file())
    for file in files:
        _copy(file, official / file.name)
        if file.name != "config.json":
            link(adapted / file.name, f"../{TINY}/{file.name}")
    _copy(shipped / "tx81_config.json", official / "config_tx81.json")
    config = json.loads((shipped / "tx81_config.json").read_text("utf-8"))
    config["param_dir"] = str(tree.node(MODEL_TYPES["qwen2_7b_bf16"]))
    write(adapted / "config.json", json.dumps(config, indent=2) + "\n", mode=0o644)


def _copy(source: Path, target: Path) -> None:
    if target.is_file() and filecmp.cmp(source, target, shallow=False):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.copyfile(source, fresh)
    os.replace(fresh, target)
