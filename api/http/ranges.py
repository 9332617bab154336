"""Byte ranges (RFC 9110 §14): the part of a thing that a client asked for, streamed."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from starlette.responses import StreamingResponse

from api.http.errors import RangeBeyondEnd

PIECE = 1 << 18
"""Bytes in memory for each download."""

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def in_parts(*media_types: str) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that answers with `stream`: the whole, or a part with 206."""
    content = {media_type: {"schema": {"type": "string", "format": "binary"}} for media_type in media_types}
    of_part = {"Content-Range": {"description": "Which bytes of how many.", "schema": {"type": "string"}}}
    return {
        200: {"description": "The bytes.", "content": content},
        206: {"description": "The bytes that `Range` names.", "content": content, "headers": of_part},
    }


def part_of(header: str | None, size: int) -> range | None:
    """The asked-for bytes, or None for all of them: several ranges, other units and nonsense are ignored, as the RFC
    allows. RangeBeyondEnd if nothing of it exists."""
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None or not (match[1] or match[2]):
        return None
    first, last = match[1], match[2]
    if not first:
        found = range(max(size - int(last), 0), size)
    elif last and int(last) < int(first):
        return None
    else:
        found = range(int(first), min(int(last) + 1, size) if last else size)
    if not found:
        headers = {"Content-Range": f"bytes */{size}"}
        raise RangeBeyondEnd(f"there are only {size} bytes", field="Range", headers=headers)
    return found


def stream(
    read: Callable[[int, int], bytes], size: int, asked: str | None, headers: Mapping[str, str], media_type: str
) -> StreamingResponse:
    """The bytes that `asked` (a Range header) names of the `size` that `read` (offset, length) gives."""
    part = part_of(asked, size)
    shown = range(size) if part is None else part
    own = {"Accept-Ranges": "bytes", "Content-Length": str(len(shown)), "X-Content-Type-Options": "nosniff"}
    if part is not None:
        own["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
    return StreamingResponse(
        _pieces(read, shown),
        status_code=200 if part is None else 206,
        headers={**own, **headers},
        media_type=media_type,
    )


def _pieces(read: Callable[[int, int], bytes], part: range) -> Iterator[bytes]:
    offset = part.start
    while offset < part.stop:
        piece = read(offset, min(PIECE, part.stop - offset))
        if not piece:
            raise EOFError(f"only {offset - part.start} of {len(part)} bytes could be read")
        yield piece
        offset += len(piece)
