"""Sending a large file: the document with the progress, and the client that continues from there."""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from api.client.connection import ApiError, Connection, ServerUnreachable, segment
from api.documents.uploads import UploadView

PIECE = 4 << 20
"""Bytes of one request: smaller than every server's limit, and quickly sent again when a connection breaks."""

TRIES = 5
"""Number of consecutive failures of a piece after which the upload fails; the pieces received stay on the server."""


def send(connection: Connection, file: Path, told: Callable[[int, int], None]) -> str:
    """Send a file, or the rest of it; returns its digest. `told` is called with the number of bytes sent and in total.

    ServerUnreachable after too many failures: sending the file again continues where it stopped. FileChanged if it
    became shorter meanwhile; other changes are found by the server, which compares the digest.
    """
    with file.open("rb") as opened:
        return _send(connection, opened, told)


def send_bytes(connection: Connection, content: bytes) -> str:
    """As `send`, for what is in memory and cannot change meanwhile."""
    return _send(connection, io.BytesIO(content), lambda _sent, _size: None)


class FileChanged(Exception):
    """The file is not what it was when the upload began."""


def _send(connection: Connection, opened: BinaryIO, told: Callable[[int, int], None]) -> str:
    size = opened.seek(0, io.SEEK_END)
    opened.seek(0)
    digest = f"sha256:{_digest(opened)}"
    at = _begun(connection, digest, size)
    broken = 0
    while at.offset < size:
        told(at.offset, size)
        opened.seek(at.offset)
        if not (piece := opened.read(min(PIECE, size - at.offset))):
            raise FileChanged("the file became shorter while it was sent: send it again, once it no longer changes")
        try:
            at = _sent(connection, at, piece)
            broken = 0
        except ServerUnreachable:
            broken += 1
            if broken == TRIES:
                raise
            connection.pause()
            at = _begun(connection, digest, size)
    told(size, size)
    return digest


def _digest(opened: BinaryIO) -> str:
    sum_ = hashlib.sha256()
    while piece := opened.read(PIECE):
        sum_.update(piece)
    return sum_.hexdigest()


def _begun(connection: Connection, digest: str, size: int) -> UploadView:
    return UploadView.model_validate(connection.post("/uploads", {"digest": digest, "size": size}).json())


def _sent(connection: Connection, at: UploadView, piece: bytes) -> UploadView:
    try:
        return UploadView.model_validate(connection.patch(f"/uploads/{segment(at.digest)}", at.offset, piece).json())
    except ApiError as refused:
        if refused.code != "wrong_offset":
            raise
        # Another client sends the same file, or the answer to the last piece was lost.
        return UploadView.model_validate(connection.get(f"/uploads/{segment(at.digest)}").json())
