"""Kernel images that the vendor, or somebody on another machine, has compiled."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

from pydantic import Field, model_validator

from orchestrator.catalog.imported_artifacts import name_it, require_model
from orchestrator.catalog.kcore_trees import kernel_image, require_whole
from orchestrator.catalog.kcores import chips_in_tree
from orchestrator.catalog.paths import allowed_path
from orchestrator.catalog.text_files import safe_name
from orchestrator.catalog.uploads import ANYBODY, Sender, Uploads
from orchestrator.errors import BadSpec, OrchestratorError, PathRefused
from orchestrator.model.kcores import (
    LITERAL,
    MODEL_INFO,
    BadKcore,
    KcoreFacts,
    Precision,
    facts_in_name,
)
from orchestrator.model.specs import AbsolutePath, Digest, Name, Strict
from orchestrator.settings import Settings
from orchestrator.storage.artifacts import ArtifactStore, raising_store_full
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Artifact


class KcoreImport(Strict):
    """Take in a kernel image: a folder with one in it, `kcore.bin` itself, or a .tar or .tar.gz of either."""

    path: AbsolutePath | None = None
    upload: Digest | None = Field(default=None, description="Of a .tar or .tar.gz that was uploaded.")
    model: Name | None = Field(default=None, description="The registered model it was compiled from, if that is known.")
    precision: Precision | None = Field(default=None, description="Precision of its weights. Default: as in its name.")

    @model_validator(mode="after")
    def _one_source(self) -> "KcoreImport":
        if (self.path is None) == (self.upload is None):
            raise ValueError("give either path or upload")
        return self


class KcoreImports:
    """Takes kernel images into the store, each as the folder that the tools call the case directory."""

    def __init__(self, settings: Settings, database: Database, store: ArtifactStore) -> None:
        self._settings = settings
        self._database = database
        self._store = store
        self._uploads = Uploads(settings)

    def take_in(self, request: KcoreImport, sender: Sender = ANYBODY, *, gone: Event | None = None) -> Artifact:
        """Store the one kernel image that is there; BadSpec or PathRefused says why there is none.

        Unpacking an archive ends with NotWanted once `gone`."""
        require_model(self._database, request.model)
        field = "path" if request.upload is None else "upload"
        with self._content(request, sender, gone) as content:
            try:
                node = kernel_image(content)
                require_whole(node)
            except BadKcore as bad:
                raise BadSpec(str(bad), field=field) from None
            names = _names(request, content, node)
            stored = self._store.put_tree(node)
        told, named = next(
            ((name, facts) for name in names if (facts := facts_in_name(name)) != KcoreFacts()),
            (names[0], KcoreFacts()),
        )
        facts = KcoreFacts(
            chips=chips_in_tree(self._store, stored.digest) or named.chips,
            precision=request.precision or named.precision,
            sequence=named.sequence,
            model=request.model,
        )
        file_name = safe_name(Path(told))
        return name_it(self._database, stored, name="kcore", file_name=file_name, facts=facts.model_dump())

    @contextmanager
    def _content(self, request: KcoreImport, sender: Sender, gone: Event | None) -> Iterator[Path]:
        """A folder with the kernel image somewhere in it."""
        if request.upload is not None:
            with self._uploads.unpacked(request.upload, sender, gone=gone) as unpacked:
                yield unpacked
            return
        assert request.path is not None
        path = allowed_path(self._settings, request.path, "path")
        if path.is_dir():
            yield path
        elif path.name == LITERAL and path.is_file():
            with self._uploads.scratch() as folder:
                _copy_alone(path, folder)
                yield folder
        elif path.is_file():
            with _named_path(), self._uploads.unpacked_archive(path, gone=gone) as unpacked:
                yield unpacked
        else:
            raise PathRefused(f"{request.path} is neither a folder nor a file", field="path")


def _names(request: KcoreImport, content: Path, node: Path) -> list[str]:
    """What the folders around the kernel image are called, innermost first: one of them may say what it is."""
    below = [*reversed(node.relative_to(content).parts)]
    if request.path is None:
        return [*below, content.name]
    given = [part for part in reversed(Path(request.path).parts) if part != LITERAL]
    return [*below, *given[:4]]


def _copy_alone(literal: Path, folder: Path) -> None:
    """Nothing but the file and what describes it: the folder that it lies in may be somebody's home."""
    with raising_store_full(folder):
        for name in (LITERAL, MODEL_INFO):
            beside = literal.with_name(name)
            if beside.is_file() and not beside.is_symlink():
                shutil.copyfile(beside, folder / name)


@contextmanager
def _named_path() -> Iterator[None]:
    """What is wrong with an archive belongs to the field that named it."""
    try:
        yield
    except OrchestratorError as trouble:
        trouble.field = "path" if trouble.field == "upload" else trouble.field
        raise
