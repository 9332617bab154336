"""Contexts: servers with a token for each, which `tx81 login` stores for a person, and which server a command asks.

They are in one file that only its owner can read: `$TX81_CONTEXTS`, or `tx81/contexts.json` in `$XDG_CONFIG_HOME` or
`~/.config`. A server also leaves its address beside its admin token; that address is only used with that token.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from cli.regular_files import open_regular

BESIDE = ".server"
"""Added to the name of a token file: the file with the address of the server that the token is for."""


class BadContexts(Exception):
    """The file of contexts cannot be used; the text names it and the remedy."""


@dataclass(frozen=True)
class ServerContext:
    """A server, and the token for it."""

    server: str
    token: str


@dataclass(frozen=True)
class Contexts:
    """All contexts of a person, and the name of the one in use."""

    current: str | None = None
    by_name: Mapping[str, ServerContext] = field(default_factory=dict)

    def named(self, name: str) -> ServerContext:
        """BadContexts if there is none."""
        if name not in self.by_name:
            known = ", ".join(sorted(self.by_name)) or "none"
            raise BadContexts(f"there is no context {name!r} (known: {known}); make one with: tx81 login URL")
        return self.by_name[name]

    def in_use(self) -> ServerContext | None:
        """The current one, if there is one."""
        return self.by_name.get(self.current or "")

    def for_server(self, server: str) -> ServerContext | None:
        """The context of this server; of several the current one."""
        found = [each for each in (self.in_use(), *self.by_name.values()) if each is not None]
        return next((each for each in found if each.server == server), None)

    def added(self, name: str, context: ServerContext) -> "Contexts":
        """With one more, or one replaced, which is in use then."""
        return Contexts(name, {**self.by_name, name: context})

    def without(self, name: str) -> "Contexts":
        """With one less; if it was in use, none is."""
        left = {each: context for each, context in self.by_name.items() if each != name}
        return Contexts(None if self.current == name else self.current, left)


def file_of_contexts() -> Path:
    """Where they are stored."""
    if named := os.environ.get("TX81_CONTEXTS"):
        return Path(named)
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser(), "tx81", "contexts.json")


def load() -> Contexts:
    """The stored contexts; none if there is no file."""
    file = file_of_contexts()
    try:
        return _contexts(json.loads(_text_of(file)))
    except FileNotFoundError:
        return Contexts()
    except OSError as error:
        raise BadContexts(f"{file} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BadContexts(f"{file} is damaged: remove it, then log in again with: tx81 login URL") from None


def save(contexts: Contexts) -> None:
    """Store them, whole or not at all, for their owner alone; OSError."""
    file = file_of_contexts()
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    named = {name: {"server": each.server, "token": each.token} for name, each in contexts.by_name.items()}
    # A named temporary file can only be read by its owner.
    with NamedTemporaryFile("w", dir=file.parent, prefix=".contexts-", delete=False, encoding="utf-8") as draft:
        try:
            json.dump({"current": contexts.current, "contexts": named}, draft, ensure_ascii=False, indent=2)
            draft.flush()
            Path(draft.name).replace(file)
        finally:
            Path(draft.name).unlink(missing_ok=True)


def address_beside(token_file: Path) -> str | None:
    """The address that a server left beside the token; None if there is none."""
    with suppress(OSError, UnicodeDecodeError):
        return _text_of(token_file.with_name(token_file.name + BESIDE)).strip() or None
    return None


def _text_of(file: Path) -> str:
    with open_regular(file) as stream:
        return stream.read().decode()


def _contexts(document: Any) -> Contexts:
    named = {
        str(name): ServerContext(str(entry["server"]), str(entry["token"]))
        for name, entry in document["contexts"].items()
    }
    return Contexts(document.get("current"), named)
