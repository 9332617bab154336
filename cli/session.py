"""What every command shares: which server, which token, how to print, and how to end.

A command ends by returning an `Exit`, or by raising `Stop` with one line for a person. Nothing here imports the HTTP
client until it is needed: `--help` must be fast.
"""

import json
import os
import shlex
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO

from cyclopts import Parameter

from cli.contexts import BESIDE, BadContexts, Contexts, ServerContext, address_beside, load
from cli.regular_files import open_regular
from cli.terminal import harmless, visible, with_colours

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console, RenderableType

    from api.client.client import ApiError, Client
    from orchestrator.settings import Settings

CONTEXT = "context"
"""Where a token comes from if somebody has logged in."""
EXAMPLE = "http://127.0.0.1:8081"
"""What an address looks like."""
_MOST_BYTES = 4096
"""Of a file with a token, which has fewer than a hundred."""
_OPTIONS = {
    "submitted_by": "--user",
    "q": "--search",
    "job": "JOBS",
    "subject": "SUBJECTS",
    "index": "--question",
    "exact": "--wrong",
    "closed": "--all",
    "ended": "--all",
    "lifted": "--all",
}
"""The options that are not called like the parameter of the API to which they belong."""
_PIPED_WIDTH = 250
"""Width of a table that is not on a screen: wide enough that no cell is folded."""


class Exit(IntEnum):
    """What the caller's shell learns."""

    OK = 0
    JOB_FAILED = 1  #: A job failed by itself, was cancelled or skipped; of a comparison: worse.
    USAGE = 2  #: The command line or a file that it names is wrong; of a comparison: it could not be judged.
    SERVER = 3  #: The server is away, refuses the token, or is in trouble itself.
    FAULT = 4  #: The infrastructure failed: cards, hosts, or the embedded stack.
    REFUSED = 5  #: The server refused it: not found, in conflict with the present state, or invalid.
    TIMED_OUT = 124
    DETACHED = 130


class Stop(Exception):
    """The end of a command, with one line that names what is wrong and the remedy."""

    def __init__(self, message: str, code: Exit = Exit.USAGE) -> None:
        super().__init__(message)
        self.code = code


@Parameter(name="*")
@dataclass(frozen=True)
class Printing:
    """The option that every command with a result takes."""

    output: Annotated[Literal["table", "json"], Parameter(name=["--output", "-o"])] = "table"
    "Format of the result on standard output."

    @property
    def as_json(self) -> bool:
        """Whether standard output carries one JSON document and nothing else."""
        return self.output == "json"

    def emit(self, document: "BaseModel | Sequence[BaseModel] | dict[str, Any]", page: "RenderableType") -> None:
        """Print the result: the document under `--output json`, else the page."""
        if self.as_json:
            say(lambda: print(_json(document), flush=True))
        else:
            say(lambda: _print(page))


@Parameter(name="*")
@dataclass(frozen=True)
class Session(Printing):
    """The options that every command takes which asks a server."""

    server: Annotated[str | None, Parameter(env_var="TX81_SERVER")] = None
    "URL of the API. Default: as --context, else the stack whose state is in $TX81_STATE_DIR or .tx81, else as login."

    token_file: Path | None = None
    "File with the bearer token. Default: $TX81_TOKEN, else the token that belongs to the server."

    context: Annotated[str | None, Parameter(env_var="TX81_CONTEXT")] = None
    "Name of a context; see: tx81 context"

    def token(self) -> str:
        """The bearer token; `Stop` says where it was looked for."""
        return self.target().token()

    def address(self) -> str:
        """The server's URL without a slash at its end."""
        return self.target().address

    def target(self) -> "Target":
        """Which server is asked with which token, and why that one.

        A token is never sent to a server that was found in another place than the token, unless a person has named the
        server or the token: the server of a colleague on the same machine must not get it."""
        try:
            contexts = load()
            named = contexts.named(self.context) if self.context else None
        except BadContexts as trouble:
            raise Stop(str(trouble)) from None
        local = Path(os.environ.get("TX81_STATE_DIR") or ".tx81", "admin-token")
        given = None if self.token_file or named else os.environ.get("TX81_TOKEN")
        if self.server is not None:
            address, why = url(self.server, "--server"), "named by --server or TX81_SERVER"
            context = named or contexts.for_server(address)
        elif named is not None:
            address, why, context = named.server, f"context {self.context}", named
        else:
            address, why, context = _found(self.token_file or (None if given else local), contexts)
        if self.token_file is None and context is not None and not given:
            return Target(address, why, plain=context.token, source=CONTEXT)
        if given:
            return Target(address, why, plain=given.strip(), source="TX81_TOKEN")
        return Target(address, why, file=self.token_file or local, source=str(self.token_file or local))

    @contextmanager
    def client(self, token: str | None = None) -> "Iterator[Client]":
        """A connected client; what the server refuses becomes a `Stop`."""
        from api.client.client import ApiError, Client, FileChanged, ServerUnreachable

        try:
            with Client(self.address(), self.token() if token is None else token) as client:
                yield client
        except ApiError as error:
            remedy = f"; {self.target().remedy}" if error.status == 401 else ""
            raise Stop(f"{refusal_of(error)}{remedy}", exit_of(error.status)) from error
        except FileChanged as error:
            raise Stop(str(error)) from error
        except ServerUnreachable as error:
            raise Stop(
                f"{error}; start one with: tx81 up, or name it with --server (TX81_SERVER)",
                Exit.SERVER,
            ) from error


@dataclass(frozen=True)
class Target:
    """A server, and where the token for it comes from."""

    address: str
    why: str
    """How the address was found."""
    source: str
    """Where the token comes from."""
    plain: str | None = None
    file: Path | None = None

    @property
    def remedy(self) -> str:
        """What to do if the server refuses the token."""
        return f"log in again: tx81 login {self.address}" if self.source == CONTEXT else f"check {self.source}"

    def token(self) -> str:
        """The token; `Stop` says where it was looked for."""
        if self.plain is not None or self.file is None:
            return _usable(self.plain or "", self.source)
        try:
            with open_regular(self.file) as file:
                content = file.read(_MOST_BYTES + 1)
            if len(content) > _MOST_BYTES:
                raise Stop(f"{self.file} has no token: it is too large", Exit.SERVER)
            return _usable(content.decode().strip(), self.source)
        except OSError as error:
            raise Stop(
                f"no token: {self.file} cannot be read ({error.strerror}); log in with: tx81 login {self.address}, "
                "or set TX81_TOKEN or --token-file",
                Exit.SERVER,
            ) from None
        except UnicodeDecodeError:
            raise Stop(f"{self.file} has no token: it is not text", Exit.SERVER) from None


def url(text: str, source: str) -> str:
    """An address without a slash at its end; `Stop` names the source if it is none."""
    if not text.startswith(("http://", "https://")):
        raise Stop(f"{source}: {text!r} is not a URL; write it like {EXAMPLE}")
    return text.rstrip("/")


def _found(token_file: Path | None, contexts: Contexts) -> tuple[str, str, ServerContext | None]:
    """The address if nobody has named it: what stands beside the token file, else what the context in use says."""
    if token_file is not None and (beside := address_beside(token_file)) is not None:
        return url(beside, f"{token_file}{BESIDE}"), f"left beside {token_file}", None
    if (context := contexts.in_use()) is not None:
        return url(context.server, "context"), f"context {contexts.current}", context
    looked = "no context is in use (tx81 context use NAME)" if contexts.by_name else "nobody has logged in"
    if token_file is not None:
        looked = f"{token_file}{BESIDE} does not exist, and {looked}"
    raise Stop(
        f"no server: {looked}; start one with: tx81 up, log in with: tx81 login URL, or set --server (TX81_SERVER)",
        Exit.SERVER,
    )


@Parameter(name="*")
@dataclass(frozen=True)
class FileSession(Session):
    """As `Session`, for a command whose `-o` names a file."""

    output: Annotated[Literal["table", "json"], Parameter(name="--output")] = "table"
    "Format of the result on standard output."


class Readers:
    """Which of the standard streams nobody reads any more."""

    gone = False
    """Whether the reader of standard output went away: the outcome of a job is still the exit code."""


def say(printing: Callable[[], None]) -> None:
    """Print to standard output; once its reader has gone, to nobody."""
    try:
        printing()
    except BrokenPipeError:
        Readers.gone = True
        _to_nobody(sys.stdout)


def _to_nobody(stream: TextIO) -> None:
    nobody = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nobody, stream.fileno())  # nor may the flush at exit complain
    os.close(nobody)


def settings() -> "Settings":
    """The settings of the environment; `Stop` names the variable that is invalid."""
    from orchestrator.settings import BadSettings, load_settings

    try:
        return load_settings()
    except BadSettings as trouble:
        raise Stop(str(trouble)) from None


def refusal_of(error: "ApiError") -> str:
    """What the server refused, with the option that the person wrote in place of the parameter of the API."""
    if error.parameter is None:
        return str(error)
    return f"{_OPTIONS.get(error.parameter, '--' + error.parameter.replace('_', '-'))}: {error.detail}"


def exit_of(status: int) -> Exit:
    """What an HTTP error status means for the shell: refused for what was asked, or server or token in trouble."""
    return Exit.SERVER if status in (401, 403, 429) or status >= 500 else Exit.REFUSED


def console(*, errors: bool = False) -> "Console":
    """Standard output (or error) as a place for tables: plain and wide if it is not a terminal."""
    from rich.console import Console

    stream = sys.stderr if errors else sys.stdout
    width = None if stream.isatty() else _PIPED_WIDTH
    return Console(file=stream, width=width, markup=False, highlight=False, emoji=False, soft_wrap=False)


def _print(page: "RenderableType") -> None:
    """Show it; in a pipe without the blanks that pad the last column."""
    screen = console()
    if screen.is_terminal:
        with screen.capture() as drawn:
            screen.print(page)
        print(with_colours(drawn.get()), end="", flush=True)
    else:
        with screen.capture() as printed:
            screen.print(page)
        print("\n".join(line.rstrip() for line in printed.get().splitlines()), flush=True)


def hint(text: str) -> None:
    """Print a hint for a person on standard error."""
    try:
        print(visible(text), file=sys.stderr, flush=True)
    except BrokenPipeError:
        _to_nobody(sys.stderr)


def hint_on_terminal(text: str) -> None:
    """Tell it only if a person is there: quiet in a pipe."""
    if sys.stderr is not None and sys.stderr.isatty():
        hint(text)


@contextmanager
def once(key: str | None) -> Iterator[str]:
    """A key under which a request may be sent again; if sending it is cut short, the person learns it."""
    sent = key or uuid.uuid4().hex
    try:
        yield sent
    except KeyboardInterrupt:
        raise Stop(
            f"interrupted; it may have been done: repeat it safely with --key {shlex.quote(sent)}", Exit.DETACHED
        ) from None


def _json(document: Any) -> str:
    """As JSON, in which no character is sent as it is that a terminal might obey; it means the same to a program."""
    text = json.dumps(_plain(document), ensure_ascii=False, indent=2)
    return "".join(char if char == "\n" or harmless(char) else json.dumps(char)[1:-1] for char in text)


def _plain(document: Any) -> Any:
    if isinstance(document, (list, tuple)):
        return [_plain(item) for item in document]
    return document if isinstance(document, dict) else document.model_dump(mode="json")


def _usable(token: str, source: str) -> str:
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise Stop(f"{source} has no token: expected one word of ASCII characters", Exit.SERVER)
    return token


HERE = Session()
"""The options of a command as they are if none of them is given."""

FILE_HERE = FileSession()
"""The same of a command whose `-o` names a file."""
