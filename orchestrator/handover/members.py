"""How the members of a bundle are made: without secrets, and with a note of what is left out."""

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any

from orchestrator.errors import OrchestratorError
from orchestrator.handover.archive import ArchiveMember
from orchestrator.handover.secrets import Redactor

Pieces = Iterable[bytes]


class Making:
    """Makes members; `left_out` grows while they are read."""

    def __init__(self, redactor: Redactor) -> None:
        self.redactor = redactor
        self.left_out: list[dict[str, Any]] = []

    def of_text(self, path: str, text: str, *, executable: bool = False) -> ArchiveMember:
        """A text as it is."""
        return ArchiveMember(path, lambda: [text.encode("utf-8", "surrogateescape")], executable=executable)

    def of_json(self, path: str, document: Any) -> ArchiveMember:
        """A document; read when its turn comes, so that `left_out.json` is complete."""
        return ArchiveMember(path, lambda: [self.document(document, indent=1)])

    def of_pieces(self, path: str, pieces: Callable[[], Pieces]) -> ArchiveMember:
        """A member that may turn out to be missing or damaged: then it ends there, and that is noted."""

        def guarded() -> Iterator[bytes]:
            try:
                yield from pieces()
            except (OrchestratorError, OSError, ValueError) as trouble:
                self.leave_out(path, str(trouble))

        return ArchiveMember(path, guarded)

    def document(self, document: Any, *, indent: int | None = None) -> bytes:
        """JSON in which names and texts that look like secrets are masked."""
        return _encoded(json.dumps(self.redactor.document(_plain(document)), ensure_ascii=False, indent=indent))

    def exactly(self, document: Any) -> bytes:
        """JSON in which only what is certainly a secret is masked."""
        return _encoded(self.redactor.known(json.dumps(document, ensure_ascii=False)))

    def leave_out(self, path: str, why: str) -> None:
        """Note what the reader will miss."""
        self.left_out.append({"path": path, "why": why})


def _encoded(text: str) -> bytes:
    return f"{text}\n".encode("utf-8", "backslashreplace")


def _plain(value: Any) -> Any:
    """Columns as JSON values."""
    if isinstance(value, dict):
        return {str(name): _plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value.isoformat() if isinstance(value, datetime) else value
