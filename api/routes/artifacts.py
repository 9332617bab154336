"""Artifacts: list, show, download; and import files made elsewhere."""

from threading import Event
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from api.access import GuardedRoute, Uploader
from api.context import Context, Given
from api.documents.artifacts import ArtifactView, EntryView
from api.documents.base import Page
from api.http.disconnects import while_wanted
from api.http.downloads import attachment, entry_at, reader, shown, tar_of
from api.http.ranges import in_parts, stream
from api.parameters import (
    Cursor,
    DigestFilter,
    Limit,
    NameFilter,
    Number,
    NumberFilter,
    RangeHeader,
    Retired,
    first_position,
    number_of,
    page,
)
from orchestrator.catalog import queries
from orchestrator.catalog.file_imports import FileImport
from orchestrator.catalog.golden_imports import GoldenImport
from orchestrator.catalog.kcore_imports import KcoreImport
from orchestrator.errors import BadRequest
from orchestrator.storage.tables import Artifact

router = APIRouter(prefix="/artifacts", tags=["artifacts"], route_class=GuardedRoute)

_BINARY = "application/octet-stream"
"""Never guessed from a name: a browser must not run what a vendor's tool wrote."""

_TAR = "application/x-tar"


@router.get("")
def list_artifacts(
    context: Given,
    job: NumberFilter | None = None,
    name: NameFilter | None = None,
    digest: DigestFilter | None = None,
    retired: Retired = False,
    limit: Limit = 100,
    cursor: Cursor | None = None,
) -> Page[ArtifactView]:
    """The artifacts in use, or the retired ones, newest first."""
    before = first_position(cursor)
    with context.database.read() as session:
        found = queries.artifacts(
            session, limit=limit + 1, before=before, job=job, name=name, digest=digest, retired=retired
        )
        views = [ArtifactView.model_validate(row) for row in found]
    return page(views, limit, number_of)


@router.post("/kcores", status_code=201)
async def import_kcore(body: KcoreImport, context: Given, request: Request, sender: Uploader) -> ArtifactView:
    """Import a kernel image that was compiled elsewhere; all of it is read, so this takes a while.

    Unpacking an archive stops if the client disconnects, and leaves nothing; send the request again to restart it."""

    def take_in(gone: Event) -> ArtifactView:
        return ArtifactView.model_validate(context.kcores.take_in(body, sender, gone=gone))

    return await while_wanted(request, take_in)


@router.post("/goldens", status_code=201)
def import_golden(body: GoldenImport, context: Given, sender: Uploader) -> ArtifactView:
    """Import reference answers: a file with one for each prompt, or the answers of a job."""
    return ArtifactView.model_validate(context.goldens.take_in(body, sender))


@router.post("/files", status_code=201)
def import_file(body: FileImport, context: Given, sender: Uploader) -> ArtifactView:
    """Import an uploaded file of prompts, or a golden; specs then name it by its digest. Stored once, however often."""
    return ArtifactView.model_validate(context.files.take_in(body, sender))


@router.get("/{artifact}")
def show_artifact(artifact: Number, context: Given) -> ArtifactView:
    """One artifact."""
    return ArtifactView.model_validate(_row(context, artifact))


@router.get("/{artifact}/entries")
def list_entries(artifact: Number, context: Given) -> Page[EntryView]:
    """The files of a tree, by path."""
    row = _row(context, artifact)
    if not row.tree:
        raise BadRequest(f"artifact {artifact} is one file, not a tree", field="artifact")
    entries = context.store.entries(row.digest)
    return Page(
        items=tuple(
            EntryView(path=shown(entry.path), digest=entry.digest, size=entry.size, executable=entry.executable)
            for entry in entries
        )
    )


@router.get("/{artifact}/content", response_class=StreamingResponse, responses=in_parts(_BINARY, _TAR))
def download(
    artifact: Number,
    context: Given,
    path: Annotated[str | None, Query(max_length=4096, description="One file of a tree.")] = None,
    range_: RangeHeader = None,
) -> Response:
    """The bytes of a file, or of one file of a tree by its path; without one, the whole tree as a .tar."""
    row = _row(context, artifact)
    if row.tree and path is None:
        tree = context.store.tree(row.digest)
        headers = {
            "Content-Disposition": attachment(f"{row.file_name}.tar"),
            "X-Content-Type-Options": "nosniff",
            "ETag": f'"{row.digest}.tar"',
        }
        return StreamingResponse(tar_of(context.store, tree), media_type=_TAR, headers=headers)
    if row.tree and path is not None:
        entry = entry_at(context.store.tree(row.digest), path)
        digest, size, file_name = entry.digest, entry.size, entry.path
    elif path is None:
        digest, size, file_name = row.digest, row.size, row.file_name
    else:
        raise BadRequest(f"artifact {artifact} is one file: omit path", field="path")
    headers = {"Content-Disposition": attachment(file_name), "ETag": f'"{digest}"'}
    return stream(reader(context.store, digest), size, range_, headers, _BINARY)


def _row(context: Context, artifact: int) -> Artifact:
    with context.database.read() as session:
        return queries.artifact(session, artifact)
