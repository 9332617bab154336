"""Files of this machine that a request names: read and checked at once, and sent to the server before the request.

A path is one of this machine; `server:/path` is one of the server. A file is sent once: the request names it by its
digest, so that what was read here is what the job gets, whatever happens to the file.
"""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from api.client.client import Client
from cli.regular_files import open_regular
from cli.session import Stop
from orchestrator.errors import BadSpec
from orchestrator.model.spec_words import SERVER_PREFIX
from orchestrator.results.text_files import FILE_LIMIT, TextFile, check

_HERE = Path()


@dataclass(frozen=True)
class _Read:
    """A file that was read."""

    name: TextFile
    content: bytes
    file_name: str
    shown: str


class OwnFiles:
    """The files of this machine that one request names."""

    def __init__(self) -> None:
        self._read: dict[tuple[str, str], _Read] = {}

    def source(self, name: TextFile, text: str, field: str, folder: Path = _HERE) -> dict[str, str]:
        """How a spec names a file that a person gave as `text`: a path here, `server:/path`, or a digest.

        `Stop` names `field` and what to do."""
        if text.startswith(SERVER_PREFIX):
            return {"path": server_path(text, field)}
        if text.startswith("sha256:"):
            return {"digest": text}
        return {"digest": self._taken(name, folder / text, text, field)}

    def in_document(self, document: Any, folder: Path, field: str = "") -> Any:
        """The same document, with the prompts and goldens that it names by a path of this machine named by digest.

        Relative paths are those below `folder`, the one of the document."""
        if isinstance(document, list):
            return [self.in_document(item, folder, _below(field, index)) for index, item in enumerate(document)]
        if not isinstance(document, Mapping):
            return document
        return {key: self._entry(key, value, folder, _below(field, key)) for key, value in document.items()}

    def send(self, client: Client) -> None:
        """Store on the server what it does not have yet."""
        for read in self._read.values():
            client.imports.file(read.name, read.content, read.file_name)

    def _entry(self, key: Any, value: Any, folder: Path, field: str) -> Any:
        names_a_file = isinstance(value, Mapping) and set(value) == {"path"} and isinstance(value["path"], str)
        if names_a_file and key == "prompts":
            return self.source("prompts", value["path"], f"{field}.path", folder)
        if names_a_file and key == "golden":
            return self.source("golden", value["path"], f"{field}.path", folder)
        return self.in_document(value, folder, field)

    def _taken(self, name: TextFile, path: Path, text: str, field: str) -> str:
        import hashlib

        content = own_file(path, text, field)
        try:
            check(name, content, field)
        except BadSpec as bad:
            raise Stop(f"{field}: {text}: {bad.detail}") from None
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self._read[name, digest] = _Read(name, content, file_name(path), text)
        return digest


def own_file(path: Path, text: str, field: str) -> bytes:
    """The bytes of a file of this machine, read once; `Stop` names `field` and what to do.

    Only a regular file is read."""
    try:
        with open_regular(path) as stream:
            content = stream.read(FILE_LIMIT + 1)
    except OSError as trouble:
        raise Stop(_unreadable(text, field, trouble)) from None
    if len(content) > FILE_LIMIT:
        raise Stop(f"{field}: {text} is larger than {FILE_LIMIT >> 20} MiB, the most that a text file may have")
    return content


def own_archive(text: str, field: str) -> Path:
    """An archive of this machine, to be sent in pieces; `Stop` names `field` and what to do if it is no file.

    `stat` opens nothing, so that a pipe is found without waiting for it."""
    path = Path(text)
    try:
        kind = path.stat().st_mode
    except (OSError, ValueError) as trouble:
        raise Stop(_unreadable(text, field, trouble)) from None
    if stat.S_ISDIR(kind):
        raise Stop(
            f"{field}: {text} is a folder; pack it with tar -czf, or write {SERVER_PREFIX}/path for one of the server"
        )
    if not stat.S_ISREG(kind):
        raise Stop(f"{field}: {text} is not a regular file; give an archive, .tar or .tar.gz")
    return path


def _unreadable(text: str, field: str, trouble: Exception) -> str:
    why = getattr(trouble, "strerror", None) or str(trouble)
    elsewhere = f"; if it is a file of the server, write {SERVER_PREFIX}{text}" if text.startswith("/") else ""
    return f"{field}: {text} cannot be read on this machine: {why}{elsewhere}"


def file_name(path: Path) -> str:
    """What a file is called, as text: a name on a disk may have any bytes, and a document has none of those."""
    return os.fsencode(path.name).decode("utf-8", "replace")[:255] or "file"


def server_path(text: str, field: str) -> str:
    """The path of the server in `server:/path`; `Stop` unless it is absolute."""
    path = text.removeprefix(SERVER_PREFIX)
    if not path.startswith("/"):
        raise Stop(f"{field}: {text} is not an absolute path of the server; write it like {SERVER_PREFIX}/srv/q.txt")
    return path


def registered_path(text: str, field: str) -> str:
    """The path of a folder that the server or its hosts read in place, with or without `server:`."""
    return server_path(text, field) if text.startswith(SERVER_PREFIX) else str(Path(text).absolute())


def _below(field: str, key: object) -> str:
    return f"{field}.{key}" if field else str(key)
