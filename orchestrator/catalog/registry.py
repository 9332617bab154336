"""Models and toolchain releases: checked against the files that exist, then registered by name.

Reading and hashing gigabytes happens before any transaction is opened.
"""

import hashlib
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from json import JSONDecodeError
from pathlib import Path
from threading import Event
from typing import Annotated, Any

from pydantic import Field, StringConstraints, model_validator
from sqlalchemy import select, update

from orchestrator.catalog.paths import allowed_path, reason
from orchestrator.catalog.profile_files import MOST_BYTES, load_profile
from orchestrator.catalog.uploads import ANYBODY, Sender, Uploads
from orchestrator.catalog.weights import Weights, earlier_digest_of, weights_of
from orchestrator.errors import AlreadyExists, BadSpec, OrchestratorError, PathRefused
from orchestrator.model.cache_keys import digest_of
from orchestrator.model.profile import Profile
from orchestrator.model.specs import (
    AbsolutePath,
    Digest,
    Name,
    Strict,
)
from orchestrator.settings import Settings
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Model, Release
from orchestrator.strict_json import BadDocument, loads

CONFIG_LIMIT = 1 << 20
MOST_CONFIG_VALUES = 100_000
MADE_LATER = ("codegen",)
"""Folders of a profile that an installed release need not have: the converter makes the one it writes to."""

_NO_RESULT: Any = {
    "probe": True,
    "provision": True,
    "kinds": {"__all__": {"help"}},
    "backend_types": {"__all__": {"output"}},
}
"""What of a profile changes no result: how cards are looked at, how the tools came there, and what is there for people.
Defaults are left out as well, lest a key that is new to all profiles makes every release another one."""


class ModelRequest(Strict):
    """Register the weights directory at `path`, or the one in an uploaded archive.

    Conversion needs the official config.json and inference the TX81 one; the folder holds either as config.json, the
    other one beside it as config_official.json or config_tx81.json, or it is named here.
    """

    name: Name
    path: AbsolutePath | None = None
    upload: Digest | None = Field(default=None, description="Of a .tar or .tar.gz that was uploaded.")
    official_config: AbsolutePath | None = None
    tx81_config: AbsolutePath | None = None

    @model_validator(mode="after")
    def _one_source(self) -> "ModelRequest":
        if (self.path is None) == (self.upload is None):
            raise ValueError("give either path or upload")
        return self


class ReleaseRequest(Strict):
    """Register the tools installed at `root`, called as the profile says."""

    name: Name
    profile: Name
    profile_text: Annotated[str, StringConstraints(min_length=1, max_length=MOST_BYTES)] | None = Field(
        default=None, description="The profile itself as YAML, instead of the one of that name on the server."
    )
    root: AbsolutePath
    default: bool = False


class Registry:
    """Writes the `model` and `release` tables."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._uploads = Uploads(settings)

    def register_model(self, request: ModelRequest, sender: Sender = ANYBODY, *, gone: Event | None = None) -> Model:
        """Register a model, or find it registered already with the same content; AlreadyExists if it differs.

        Of an upload that is refused nothing stays but the upload itself; unpacking ends with NotWanted once `gone`."""
        if request.upload is None:
            return self._register(request, self._folder(request))
        folder = self._uploads.folder_of(request.upload, request.name, sender, gone=gone)
        try:
            return self._register(request, folder)
        except BaseException as trouble:
            self._clear_away(folder)
            if isinstance(trouble, OrchestratorError) and trouble.field == "path":
                trouble.field, trouble.detail = "upload", trouble.detail.replace(f"{folder}/", "")
            raise

    def _clear_away(self, folder: Path) -> None:
        """Remove what was unpacked, unless it is a model's."""
        with self._uploads.scratch() as scratch, self._database.write() as session:
            self._database.serialise(session, "registry")
            if session.scalar(select(Model.name).where(Model.path == str(folder))) is None:
                with suppress(FileNotFoundError):
                    folder.rename(scratch / "refused")

    def _register(self, request: ModelRequest, folder: Path) -> Model:
        official, tx81 = self._configs(folder, request)
        if official is not None and tx81 is not None:
            _refuse_another_models(official, tx81, "official_config" if request.tx81_config is None else "tx81_config")
        config = official or tx81 or {}
        weights = weights_of(self._settings, folder)
        row = {
            "path": str(folder), "family": str(config["model_type"]), "official_config": official, "tx81_config": tx81,
            "digest": weights.digest, "size": weights.size,
        }  # fmt: skip
        earlier = self._earlier_digest(request.name, folder, weights)
        with self._database.write() as session:
            self._database.serialise(session, "registry")
            found = session.get(Model, request.name)
            if found is not None and found.digest == earlier:
                found.digest, found.size = weights.digest, weights.size
            if not folder.is_dir():
                raise PathRefused(f"{folder} was removed meanwhile: register it again", field="path")
            if found is None:
                found = Model(name=request.name, created_at=self._database.now(session), **row)
                session.add(found)
            elif differing := [name for name, value in row.items() if getattr(found, name) != value]:
                raise AlreadyExists(
                    f"model {request.name} is registered with another {', '.join(differing)}; choose another name",
                    field="name",
                )
            found.stamp, found.weights = weights.stamp, weights.tensors
            return found

    def _earlier_digest(self, name: str, folder: Path, weights: Weights) -> str | None:
        """What a row of the rule that counted bystanders would say of the folder, if there may be such a row."""
        with self._database.read() as session:
            known = session.get(Model, name)
        if known is None or known.path != str(folder) or known.digest == weights.digest:
            return None
        return earlier_digest_of(self._settings, folder)

    def _folder(self, request: ModelRequest) -> Path:
        assert request.path is not None
        folder = allowed_path(self._settings, request.path, "path")
        if not folder.is_dir():
            raise PathRefused(f"{request.path} is not a folder", field="path")
        return folder

    def _configs(self, folder: Path, request: ModelRequest) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        own = read_config(allowed_path(self._settings, str(folder / "config.json"), "path"), "path")
        official, tx81 = (None, own) if "param_dir" in own else (own, None)
        named = request.official_config or _beside(folder, "config_official.json", missing=official is None)
        if named is not None:
            official = read_config(allowed_path(self._settings, named, "official_config"), "official_config")
            if "param_dir" in official:
                raise BadSpec(
                    f"{named} has param_dir: it is the TX81 variant; name the official file", field="official_config"
                )
        named = request.tx81_config or _beside(folder, "config_tx81.json", missing=tx81 is None)
        if named is not None:
            tx81 = read_config(allowed_path(self._settings, named, "tx81_config"), "tx81_config")
            if "param_dir" not in tx81:
                raise BadSpec(
                    f"{named} has no param_dir: it is the official config.json; name the TX81 variant",
                    field="tx81_config",
                )
        return official, tx81

    def register_release(self, request: ReleaseRequest) -> Release:
        """Register a release; registering the same again changes nothing but `default` and how cards are probed."""
        root = allowed_path(self._settings, request.root, "root")
        profile = load_profile(self._settings, request.profile, request.profile_text)
        for name, below in profile.folders.items():
            if name not in MADE_LATER and not (root / below).is_dir():
                raise PathRefused(f"{root} has no {below}: is {request.profile} installed there?", field="root")
        document = profile.model_dump(mode="json")
        digest = release_digest(profile, root)
        with self._database.write() as session:
            self._database.serialise(session, "registry")
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
            else:
                found.profile = document
            session.flush()
            if request.default or first:
                session.execute(update(Release).values(is_default=False))
                found.is_default = True
            return found


def adopt(database: Database, name: str, *, earlier: str, weights: Weights) -> None:
    """Let a row of the rule that counted bystanders say what the present rule says of the same folder."""
    with database.write() as session:
        present = {"digest": weights.digest, "size": weights.size, "stamp": weights.stamp, "weights": weights.tensors}
        session.execute(update(Model).where(Model.name == name, Model.digest == earlier).values(**present))


def release_digest(profile: Profile, root: Path) -> str:
    """What identifies a build of the tools: the profile, and the content of its fingerprint files."""
    files = sorted(file for glob in profile.fingerprint for file in root.glob(glob) if file.is_file())
    contents = {str(file.relative_to(root)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    called = profile.model_dump(mode="json", exclude=_NO_RESULT, exclude_defaults=True)
    return digest_of({"profile": called, "files": contents})


def read_config(path: Path, field: str) -> dict[str, Any]:
    """A config.json; PathRefused or BadSpec says why it is none, or is not taken."""
    try:
        # Reading a pipe or a device would never end.
        if not path.is_file():
            raise PathRefused(f"{path} is not a file", field=field)
        with path.open("rb") as stream:
            content = stream.read(CONFIG_LIMIT + 1)
        if len(content) > CONFIG_LIMIT:
            raise BadSpec(f"{path} is larger than a config.json can be", field=field)
        config = loads(content, most_values=MOST_CONFIG_VALUES, largest=math.inf)
    except OSError as trouble:
        raise PathRefused(f"{path} cannot be read: {reason(trouble)}", field=field) from None
    except JSONDecodeError as trouble:
        raise BadSpec(f"{path} is not JSON: {trouble}", field=field) from None
    except BadDocument as bad:
        raise BadSpec(f"{path} is not taken: {bad}", field=field) from None
    named = isinstance(config, dict) and isinstance(config.get("model_type"), str)
    if not named or not re.fullmatch(r"[A-Za-z0-9_.-]{1,40}", config["model_type"]):
        raise BadSpec(f"{path} is not a model's config.json: it has no model_type", field=field)
    return dict(config)


def _refuse_another_models(official: Mapping[str, Any], tx81: Mapping[str, Any], field: str) -> None:
    """BadSpec if the two state different sizes of the weights."""
    for name in ("hidden_size", "num_hidden_layers"):
        one, other = official.get(name), tx81.get(name)
        if None not in (one, other) and one != other:
            raise BadSpec(
                f"the two config.json are of different models: {name} is {one} in the official one, {other} in the "
                "TX81 one; name the right file",
                field=field,
            )


def _beside(folder: Path, name: str, *, missing: bool) -> str | None:
    return str(folder / name) if missing and (folder / name).exists() else None
