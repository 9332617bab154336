"""Models and toolchain releases: checked against the files that exist, then registered by name.

Reading and hashing gigabytes happens before any transaction is opened.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from sqlalchemy import update

from orchestrator.caching import digest_of
from orchestrator.errors import AlreadyExists, BadRequest, BadSpec, PathRefused
from orchestrator.model.profile import Profile
from orchestrator.model.specs import AbsolutePath, Name, Strict
from orchestrator.settings import Settings
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Model, Release

CONFIG_LIMIT = 1 << 20
FAMILIES = {"qwen2": "qwen2", "llama": "llama"}
"""`model_type` of a config.json → family of backend model types."""

HEADER_LIMIT = 100 << 20
"""Largest safetensors header; the format's own limit."""


class ModelRequest(Strict):
    """Register the weights directory at `path`.

    Conversion needs the official config.json and inference the TX81 one; the folder holds either, the other is named.
    """

    name: Name
    path: AbsolutePath
    official_config: AbsolutePath | None = None
    tx81_config: AbsolutePath | None = None


class ReleaseRequest(Strict):
    """Register the tools installed at `root`, called as the profile says."""

    name: Name
    profile: Name
    root: AbsolutePath
    default: bool = False


def allowed_path(settings: Settings, text: str, field: str) -> Path:
    """`text` with every link resolved, if that lies under an allowed root; else PathRefused."""
    if ".." in Path(text).parts:
        raise PathRefused(f"{text} contains '..'; give the path itself", field=field)
    try:
        path = Path(text).resolve(strict=True)
    except (OSError, RuntimeError) as trouble:
        raise PathRefused(f"{text} cannot be read: {_reason(trouble)}", field=field) from None
    roots = [root.resolve() for root in settings.allowed_roots]
    if not any(path.is_relative_to(root) for root in roots):
        allowed = ", ".join(str(root) for root in roots) or "none is configured"
        raise PathRefused(f"{text} is not under an allowed root ({allowed}); see TX81_ALLOWED_ROOTS", field=field)
    return path


class Registry:
    """Writes the `model` and `release` tables."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database

    def register_model(self, request: ModelRequest) -> Model:
        """Register a model, or find it registered already with the same content; AlreadyExists if it differs."""
        folder = allowed_path(self._settings, request.path, "path")
        if not folder.is_dir():
            raise PathRefused(f"{request.path} is not a folder", field="path")
        official, tx81 = self._configs(folder, request)
        config = official or tx81 or {}
        digest, size = _weights_digest(self._settings, folder)
        row = {
            "path": str(folder), "family": _family(config), "official_config": official, "tx81_config": tx81,
            "digest": digest, "size": size,
        }  # fmt: skip
        with self._database.write() as session:
            found = session.get(Model, request.name)
            if found is None:
                found = Model(name=request.name, created_at=self._database.now(session), **row)
                session.add(found)
            elif differing := [name for name, value in row.items() if getattr(found, name) != value]:
                raise AlreadyExists(
                    f"model {request.name} is registered with another {', '.join(differing)}; choose another name",
                    field="name",
                )
            return found

    def _configs(self, folder: Path, request: ModelRequest) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        own = _read_config(folder / "config.json", "path")
        official, tx81 = (None, own) if "param_dir" in own else (own, None)
        if request.official_config is not None:
            official = _read_config(
                allowed_path(self._settings, request.official_config, "official_config"), "official_config"
            )
            if "param_dir" in official:
                raise BadSpec(
                    f"{request.official_config} has param_dir: it is the TX81 variant; name the official file",
                    field="official_config",
                )
        if request.tx81_config is not None:
            tx81 = _read_config(allowed_path(self._settings, request.tx81_config, "tx81_config"), "tx81_config")
            if "param_dir" not in tx81:
                raise BadSpec(
                    f"{request.tx81_config} has no param_dir: it is the official config.json; name the TX81 variant",
                    field="tx81_config",
                )
        return official, tx81

    def register_release(self, request: ReleaseRequest) -> Release:
        """Register a release; registering the same again changes nothing but `default`."""
        root = allowed_path(self._settings, request.root, "root")
        profile = load_profile(self._settings, request.profile)
        for name, below in profile.folders.items():
            if name != "codegen" and not (root / below).is_dir():
                raise PathRefused(f"{root} has no {below}: is this where {request.profile} is installed?", field="root")
        document = profile.model_dump(mode="json")
        digest = release_digest(profile, root)
        with self._database.write() as session:
            found = session.get(Release, request.name)
            first = session.query(Release).first() is None
            if found is None:
                found = Release(
                    name=request.name, profile=document, root=str(root), digest=digest, is_default=False,
                    created_at=self._database.now(session),
                )  # fmt: skip
                session.add(found)
            elif (found.root, found.digest) != (str(root), digest):
                raise AlreadyExists(
                    f"release {request.name} is registered with other tools ({found.root}); choose another name",
                    field="name",
                )
            session.flush()
            if request.default or first:
                session.execute(update(Release).values(is_default=False))
                found.is_default = True
            return found


def load_profile(settings: Settings, name: str) -> Profile:
    """The profile called `name` in the configured folders; BadRequest names what is wrong with it."""
    for folder in settings.profile_dirs:
        file = folder / f"{name}.yaml"
        if file.is_file():
            try:
                return Profile.model_validate(yaml.safe_load(file.read_text()))
            except (yaml.YAMLError, ValidationError) as trouble:
                raise BadRequest(f"profile {name} is not valid: {trouble}", field="profile") from None
    known = sorted(file.stem for folder in settings.profile_dirs for file in folder.glob("*.yaml"))
    raise BadSpec(f"there is no profile {name!r}; known: {', '.join(known)}", field="profile")


def release_digest(profile: Profile, root: Path) -> str:
    """What tells one build of the tools from another: the profile, and the content of its fingerprint files."""
    files = sorted(file for glob in profile.fingerprint for file in root.glob(glob) if file.is_file())
    contents = {str(file.relative_to(root)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    return digest_of({"profile": profile.model_dump(mode="json"), "files": contents})


def _read_config(path: Path, field: str) -> dict[str, Any]:
    try:
        if path.stat().st_size > CONFIG_LIMIT:
            raise BadSpec(f"{path} is larger than a config.json can be", field=field)
        config = json.loads(path.read_bytes())
    except OSError as trouble:
        raise PathRefused(f"{path} cannot be read: {_reason(trouble)}", field=field) from None
    except (ValueError, RecursionError) as trouble:
        raise BadSpec(f"{path} is not JSON: {trouble}", field=field) from None
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise BadSpec(f"{path} is not a model's config.json: it has no model_type", field=field)
    return config


def _family(config: dict[str, Any]) -> str:
    model_type = str(config["model_type"])
    return FAMILIES.get(model_type, model_type[:40])


def _weights_digest(settings: Settings, folder: Path) -> tuple[str, int]:
    """Digest and size of everything in the folder but the config.json files, after a look at the weights' headers."""
    roots = [root.resolve() for root in settings.allowed_roots]
    contents: dict[str, str] = {}
    size = 0
    weights = 0
    for base, _folders, names in os.walk(folder):
        for name in sorted(names):
            file = Path(base, name)
            shown = str(file.relative_to(folder))
            if not any(file.resolve().is_relative_to(root) for root in roots):
                raise PathRefused(f"{shown} is a link that leaves the allowed roots", field="path")
            if not file.is_file():
                raise PathRefused(f"{shown} is not a readable file", field="path")
            if name.endswith(".safetensors"):
                check_safetensors(file)
                weights += 1
            if not (name.startswith("config") and name.endswith(".json")):
                size += file.stat().st_size
                with file.open("rb") as stream:
                    contents[shown] = hashlib.file_digest(stream, "sha256").hexdigest()
    if weights == 0:
        raise BadSpec(f"{folder} holds no *.safetensors weights", field="path")
    return digest_of(contents), size


def check_safetensors(file: Path) -> None:
    """BadSpec if the file's header does not describe the bytes that follow it.

    Format: eight bytes little-endian header length, a JSON object from tensor name to dtype, shape and data_offsets,
    the data. https://huggingface.co/docs/safetensors
    """
    total = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if total < 8 or not 2 <= length <= min(HEADER_LIMIT, total - 8):
            raise BadSpec(
                f"{file.name} has a broken safetensors header: its length does not fit the file", field="path"
            )
        try:
            header = json.loads(stream.read(length))
            tensors = {name: entry["data_offsets"] for name, entry in header.items() if name != "__metadata__"}
            end = max((int(stop) for _start, stop in tensors.values()), default=0)
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
            raise BadSpec(
                f"{file.name} has a broken safetensors header: it is not a table of tensors", field="path"
            ) from None
    if not tensors or 8 + length + end != total:
        raise BadSpec(
            f"{file.name} is cut off or has a broken header: {total} bytes, {8 + length + end} announced", field="path"
        )


def _reason(trouble: Exception) -> str:
    return getattr(trouble, "strerror", None) or str(trouble)
