"""The commands about servers and who one is there: login, whoami, context."""

import getpass
import re
import sys
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from cyclopts import App
from rich.text import Text

from api.client.client import ApiError, Client, ServerUnreachable
from cli import contexts as stored
from cli.contexts import BadContexts, Contexts, ServerContext
from cli.pages.layout import facts, row, table
from cli.session import HERE, Exit, Printing, Session, Stop, Target, hint, url

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_ON_TERMINAL = Printing()

app = App(name="context", help="Servers that you have logged in to: list, `use`, `remove`.")


def login(
    address: str,
    /,
    *,
    name: str | None = None,
    token_file: Path | None = None,
    printing: Printing = _ON_TERMINAL,
) -> Exit:
    """Store a server and your token for it; commands ask this server from now on.

    The token is read from --token-file, else from a prompt, or from standard input if that is no terminal.

    Parameters
    ----------
    address
        URL of the API, e.g. http://lab1:8081.
    name
        Name of the context. Default: host and port of the URL.
    token_file
        File with the token.
    """
    server = url(address, "URL")
    chosen = name or urlsplit(server).netloc.rpartition("@")[2].replace(":", "-").strip("[]")
    if not _NAME.fullmatch(chosen):
        raise Stop(f"--name: {chosen!r} is not a name; use letters, digits, '.', '_' and '-'")
    known = _loaded()
    token = _read(token_file, server)
    try:
        with Client(server, token) as client:
            found = client.whoami()
    except (ApiError, ServerUnreachable) as error:
        raise Stop(f"{error}; nothing was stored", Exit.SERVER) from error
    _save(known.added(chosen, ServerContext(server, token)))
    scopes = ", ".join(found.scopes)
    document = {"context": chosen, "server": server, "name": found.name, "scopes": list(found.scopes)}
    printing.emit(document, Text(f"logged in to {server} as {found.name} ({scopes}); context {chosen}"))
    return Exit.OK


def whoami(*, session: Session = HERE) -> Exit:
    """Show which server is asked, with whose token, and where both were found."""
    target = session.target()
    with session.client() as client:
        found = client.whoami()
    document = {
        "name": found.name, "scopes": list(found.scopes), "server": target.address, "server_from": target.why,
        "token_from": target.source,
    }  # fmt: skip
    page = facts(
        {
            "name": found.name, "scopes": ", ".join(found.scopes), "server": f"{target.address} ({target.why})",
            "token": target.source,
        }
    )  # fmt: skip
    session.emit(document, page)
    return Exit.OK


@app.default
def context(*, printing: Printing = _ON_TERMINAL) -> Exit:
    """List the servers that you have logged in to, without tokens."""
    known = _loaded()
    listed = [
        {"name": name, "server": each.server, "current": name == known.current}
        for name, each in sorted(known.by_name.items())
    ]
    shown = table("context", "server", "current")
    for entry in listed:
        row(shown, entry["name"], entry["server"], "yes" if entry["current"] else "")
    printing.emit({"contexts": listed, "file": str(stored.file_of_contexts())}, shown)
    if not listed:
        hint("no context; make one with: tx81 login URL")
    return Exit.OK


app.command(context, name="list")


@app.command
def use(name: str, /) -> Exit:
    """Ask this server from now on.

    Parameters
    ----------
    name
        A context; see: tx81 context
    """
    known = _loaded()
    chosen = _named(known, name)
    _save(known.added(name, chosen))
    hint(f"context {name}: {chosen.server}")
    return Exit.OK


@app.command
def remove(name: str, /) -> Exit:
    """Forget a server and the token for it. The token itself stays valid.

    Parameters
    ----------
    name
        A context; see: tx81 context
    """
    known = _loaded()
    _named(known, name)
    _save(known.without(name))
    return Exit.OK


def _read(token_file: Path | None, server: str) -> str:
    if token_file is not None:
        return Target(server, "named", source=str(token_file), file=token_file).token()
    if sys.stdin.isatty():
        with suppress(EOFError):
            return _one_word(getpass.getpass("token: "))
        return _one_word("")
    return _one_word(sys.stdin.readline())


def _one_word(text: str) -> str:
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise Stop("no token: expected one word of ASCII characters; an admin makes one with: tx81 tokens create NAME")
    return token


def _loaded() -> Contexts:
    try:
        return stored.load()
    except BadContexts as trouble:
        raise Stop(str(trouble)) from None


def _named(known: Contexts, name: str) -> ServerContext:
    try:
        return known.named(name)
    except BadContexts as trouble:
        raise Stop(str(trouble)) from None


def _save(changed: Contexts) -> None:
    try:
        stored.save(changed)
    except OSError as error:
        raise Stop(f"{stored.file_of_contexts()} cannot be written: {error.strerror}", Exit.FAULT) from None
