"""The handover bundle of a job: one archive, made while it is downloaded."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from api.access import GuardedRoute
from api.context import Given
from api.http.downloads import attachment
from api.parameters import Number
from orchestrator.handover.archive import Compression

router = APIRouter(prefix="/jobs", tags=["jobs"], route_class=GuardedRoute)

_MEDIA_TYPES = {Compression.ZST: "application/zstd", Compression.GZ: "application/gzip"}
_BYTES = {media_type: {"schema": {"type": "string", "format": "binary"}} for media_type in _MEDIA_TYPES.values()}


@router.get(
    "/{job}/bundle",
    response_class=StreamingResponse,
    responses={200: {"description": "A .tar, compressed.", "content": _BYTES}},
)
def download_bundle(
    job: Number,
    context: Given,
    compression: Annotated[Compression, Query(description="zst: .tar.zst; gz: .tar.gz.")] = Compression.ZST,
    with_artifacts: Annotated[
        bool, Query(description="Also contain large artifacts such as kcore, not only their digests.")
    ] = False,
) -> StreamingResponse:
    """Everything that finds the fault of a job, without secrets: bill of materials, command, logs, black box, answers,
    differences to the reference, events, and `repeat.sh`, which repeats the run with the vendor's tools alone."""
    pieces = context.bundles.open(job, how=compression, with_artifacts=with_artifacts)
    headers = {
        "Content-Disposition": attachment(f"tx81-job-{job}.tar.{compression}"),
        "X-Content-Type-Options": "nosniff",
    }
    return StreamingResponse(pieces, media_type=_MEDIA_TYPES[compression], headers=headers)
