"""What a server says, under the name that the client knows the model by, and cut where its events end. Pure."""

import json
import re

from api.http.errors import ServerFailed

LARGEST_EVENT = 1024 * 1024
"""Bytes of one event that are held; an event is a few hundred."""


_BLANK_LINES = (b"\n\n", b"\r\r", b"\n\r\n")
"""An event ends with one; lines end in LF, CR or both."""


class Naming:
    """Puts the name that was asked for where a server wrote its own, which is a path on its host.

    Only `"model": "…"` is touched: in a text of JSON its quotes would be escaped, so what a model says stays as it is.
    """

    def __init__(self, served: str, asked: str) -> None:
        spellings = {json.dumps(served, ensure_ascii=ascii_only).encode() for ascii_only in (True, False)}
        self._theirs = re.compile(rb'("model"\s*:\s*)(?:' + b"|".join(map(re.escape, sorted(spellings))) + rb")")
        self._ours = json.dumps(asked).encode()

    def __call__(self, said: bytes) -> bytes:
        """The same bytes with the other name."""
        return self._theirs.sub(lambda found: found[1] + self._ours, said)


class Events:
    """Lets only whole events pass, so that whatever follows a break begins on a line of its own."""

    def __init__(self, naming: Naming) -> None:
        self._naming = naming
        self._held = b""

    def feed(self, piece: bytes) -> bytes:
        """The events that are whole with this piece; ServerFailed if one has no end."""
        held = self._held + piece
        end = max((held.rfind(blank) + len(blank) for blank in _BLANK_LINES if blank in held), default=0)
        whole, self._held = held[:end], held[end:]
        if len(self._held) > LARGEST_EVENT:
            raise ServerFailed(f"the server sent an event of more than {LARGEST_EVENT} bytes")
        return self._naming(whole)

    def rest(self) -> bytes:
        """What a stream that ended normally has after its last event."""
        return self._naming(self._held)
