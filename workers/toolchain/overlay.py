"""The files of one attempt, laid out as its plan says.

Nothing that is shared can be written through: inputs are the store's read-only files or private copies, and a model
folder is made of links, with folders and a config.json of its own.
"""

import json
import math
import os
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.catalog.kcores import refuse_cards
from orchestrator.errors import BadSpec
from orchestrator.model.bystanders import is_bystander
from orchestrator.model.card_specs import OnCards
from orchestrator.storage.artifacts import ArtifactStore
from orchestrator.strict_json import BadDocument, check
from workers.toolchain.commands import ModelOverlay, Plan

MOST_COPIED_FILES = 2000
MOST_COPIED_BYTES = 256 << 20
"""Of a folder of the release that each run gets a copy of: scripts, not an installation."""


def refuse_unfit(plan: Plan, store: ArtifactStore) -> None:
    """BadSpec if the kernel image, whose job may have ended after this one was submitted, is for other cards."""
    digest = next((laid.digest for laid in plan.inputs if laid.name == "kcore"), None)
    if digest is not None and isinstance(plan.spec, OnCards):
        refuse_cards(store, digest, plan.spec.cards, at="kcore")


def lay_out(plan: Plan, store: ArtifactStore, work: Path) -> None:
    """Make the working folder and everything in it; only what `plan` names is touched."""
    for target, source in plan.folders.items():
        _copy_folder(source, target)
    for name in ("run", "out"):
        (work / name).mkdir(parents=True, exist_ok=True)
    for laid in plan.inputs:
        # A private tree is copied, since the tool builds inside it. A file is never written into, and may be large.
        copied = laid.private and store.is_tree(laid.digest)
        store.materialise(laid.digest, laid.target, link=not copied)
        if copied:
            _make_older(laid.target)
    if plan.overlay is not None:
        lay_model(plan.overlay)


def _make_older(folder: Path) -> None:
    """By a second: what is laid out in the tick of the clock in which the tool starts is no output of the tool."""
    for base, _, names in os.walk(folder):
        for path in (Path(base, name) for name in names):
            about = path.lstat()
            os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns - 1_000_000_000), follow_symlinks=False)


def _copy_folder(source: Path, target: Path) -> None:
    """A private copy: links stay links. BadSpec if it is not there, or too large to be copied for every run."""
    files = [Path(base, name) for base, _, names in os.walk(source) for name in names]
    size = sum(file.lstat().st_size for file in files)
    if not source.is_dir():
        raise BadSpec(f"the profile copies {source}, which is no folder of this release")
    if len(files) > MOST_COPIED_FILES or size > MOST_COPIED_BYTES:
        raise BadSpec(
            f"the profile copies {source} for every run: {len(files)} files, {size >> 20} MiB, more than "
            f"{MOST_COPIED_FILES} files or {MOST_COPIED_BYTES >> 20} MiB"
        )
    shutil.copytree(
        source, target, symlinks=True, dirs_exist_ok=True, ignore=lambda _, names: {"__pycache__"} & set(names)
    )
    for folder, _, _ in os.walk(target):
        # The release may be read-only; the copy is there to be written into.
        os.chmod(folder, stat.S_IMODE(os.lstat(folder).st_mode) | stat.S_IRWXU)


def lay_model(overlay: ModelOverlay) -> None:
    """Link every file of the registered folder but bystanders and config.json, and write the one this use needs.

    A name that is there already (a `.gm` input laid among the weights) is left alone."""
    config = _text_of(overlay.config)
    _link_files(overlay.source, overlay.target, links_to=overlay.links_to, leave_out="config.json")
    # Never written through an existing name: it could be a hard link into the store.
    with (overlay.target / "config.json").open("xb") as written:
        written.write(config)


def _text_of(config: Mapping[str, Any]) -> bytes:
    """The config.json of a registered model; BadSpec if no file can hold it: so a model could once be registered."""
    try:
        check(config, largest=math.inf)
        return json.dumps(config, ensure_ascii=False, indent=2).encode()
    except (BadDocument, ValueError, RecursionError) as bad:
        raise BadSpec(
            f"the model's config.json cannot be used ({bad}); correct it and register the model anew"
        ) from None


def _link_files(source: Path, target: Path, *, links_to: Path, leave_out: str | None = None) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for entry in source.iterdir():
        place = target / entry.name
        if is_bystander(entry.name) or (leave_out is not None and entry.name.startswith(leave_out)):
            continue
        if entry.is_dir() and not entry.is_symlink():
            _link_files(entry, place, links_to=links_to / entry.name)
        elif not place.exists():
            # As the tool sees it: in a container, the folder may be elsewhere.
            place.symlink_to(links_to / entry.name)
