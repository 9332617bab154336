"""The files of one attempt, laid out as its plan says.

Nothing that is shared can be written through: inputs are the store's read-only files or private copies, and a model
folder is made of links, with folders and a config.json of its own.
"""

import json
import math
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


def refuse_unfit(plan: Plan, store: ArtifactStore) -> None:
    """BadSpec if the kernel image, whose job may have ended after this one was submitted, is for other cards."""
    digest = next((laid.digest for laid in plan.inputs if laid.name == "kcore"), None)
    if digest is not None and isinstance(plan.spec, OnCards):
        refuse_cards(store, digest, plan.spec.cards, at="kcore")


def lay_out(plan: Plan, store: ArtifactStore, work: Path) -> None:
    """Make the working folder and everything in it; only what `plan` names is touched."""
    for name in ("run", "out"):
        (work / name).mkdir(parents=True, exist_ok=True)
    for laid in plan.inputs:
        # A private tree is copied, since the tool builds inside it. A file is never written into, and may be large.
        store.materialise(laid.digest, laid.target, link=not (laid.private and store.is_tree(laid.digest)))
    if plan.overlay is not None:
        lay_model(plan.overlay)


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
