"""Uploads: large files in pieces, resumed where they were interrupted."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Request

from api.access import GuardedRoute, Uploader
from api.context import Given
from api.documents.uploads import UploadView
from api.parameters import Integer
from orchestrator.catalog.uploads import UploadRequest
from orchestrator.model.specs import DIGEST_PATTERN
from orchestrator.strict_json import LARGEST_INTEGER

router = APIRouter(prefix="/uploads", tags=["uploads"], route_class=GuardedRoute)

Called = Annotated[str, Path(pattern=DIGEST_PATTERN, description="The digest of the whole file.")]


async def _bytes(request: Request) -> bytes:
    return await request.body()


@router.post("", status_code=201)
def begin(body: UploadRequest, context: Given, sender: Uploader) -> UploadView:
    """Begin an upload, or get its progress: continue at `offset`."""
    return UploadView.model_validate(context.uploads.begin(body, sender))


@router.get("/{digest}")
def show(digest: Called, context: Given, sender: Uploader) -> UploadView:
    """The progress of an upload."""
    return UploadView.model_validate(context.uploads.state(digest, sender))


@router.patch("/{digest}")
def append(
    digest: Called,
    context: Given,
    sender: Uploader,
    piece: Annotated[bytes, Depends(_bytes)],
    offset: Annotated[Integer, Header(alias="Upload-Offset", ge=0, le=LARGEST_INTEGER)],
) -> UploadView:
    """Add a piece: the body, whatever its type. 409 `wrong_offset` if it does not begin where the last one ended."""
    return UploadView.model_validate(context.uploads.append(digest, offset, piece, sender))


@router.delete("/{digest}", status_code=204)
def discard(digest: Called, context: Given, sender: Uploader) -> None:
    """Delete an upload; what was created from it stays."""
    context.uploads.discard(digest, sender)
