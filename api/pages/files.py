"""The files that pages load: vendored ones of `assets/`, our own of `static/`, each at an address with its digest."""

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from fastapi import APIRouter, Request, Response

from orchestrator.errors import NotFound

router = APIRouter(include_in_schema=False)

_FOLDERS = ("assets", "static")
_TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
_FOR_EVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class File:
    """One file as it is sent."""

    path: str
    """Its address: another content has another one, so that browsers may keep it for ever."""
    media_type: str
    content: bytes

    @cached_property
    def compressed(self) -> bytes:
        """By gzip, when it is first asked for."""
        return gzip.compress(self.content, mtime=0)


@cache
def files() -> Mapping[str, File]:
    """All files by name; about 3 MB, read once for each process."""
    folder = Path(__file__).parent
    found = [path for name in _FOLDERS for path in sorted((folder / name).iterdir()) if path.suffix in _TYPES]
    return {path.name: _file(path) for path in found}


def _file(path: Path) -> File:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:16]
    return File(f"/assets/{digest}/{path.name}", _TYPES[path.suffix], content)


@router.get("/assets/{digest}/{name}")
def asset(digest: str, name: str, request: Request) -> Response:
    """A file; 404 where its content is not the one that the digest names."""
    file = files().get(name)
    if file is None or file.path != f"/assets/{digest}/{name}":
        raise NotFound("there is no such file in this version; load the page again")
    headers = {"Cache-Control": _FOR_EVER, "Vary": "Accept-Encoding", "X-Content-Type-Options": "nosniff"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(file.compressed, media_type=file.media_type, headers={**headers, "Content-Encoding": "gzip"})
    return Response(file.content, media_type=file.media_type, headers=headers)
