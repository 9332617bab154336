"""Sending a big file: the document that tells how far it has come, and the client that goes on from there."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from api.client.connection import ApiError, Connection, ServerUnreachable
from api.documents.uploads import UploadView

PIECE = 4 << 20
"""Bytes of one request: below what every server takes, and little to send again when a connection breaks."""

TRIES = 5
"""How often in a row a piece may break off before the file is given up; what came stays."""


def send(connection: Connection, file: Path, told: Callable[[int, int], None]) -> str:
    """Send a file, or the rest of it; returns its digest. `told` hears the bytes that are there and how many there are.

    ServerUnreachable if it broke off too often: sending it again goes on where it was.
    """
    size = file.stat().st_size
    with file.open("rb") as opened:
        digest = f"sha256:{hashlib.file_digest(opened, 'sha256').hexdigest()}"
        at = _begun(connection, digest, size)
        broken = 0
        while at.offset < size:
            told(at.offset, size)
            opened.seek(at.offset)
            try:
                at = _sent(connection, at, opened.read(PIECE))
                broken = 0
            except ServerUnreachable:
                broken += 1
                if broken == TRIES:
                    raise
                connection.pause()
                at = _begun(connection, digest, size)
    told(size, size)
    return digest


def _begun(connection: Connection, digest: str, size: int) -> UploadView:
    return UploadView.model_validate(connection.post("/uploads", {"digest": digest, "size": size}).json())


def _sent(connection: Connection, at: UploadView, piece: bytes) -> UploadView:
    try:
        return UploadView.model_validate(connection.patch(f"/uploads/{at.digest}", at.offset, piece).json())
    except ApiError as refused:
        if refused.code != "wrong_offset":
            raise
        # Someone sends the same file, or the answer to the last piece was lost.
        return UploadView.model_validate(connection.get(f"/uploads/{at.digest}").json())
