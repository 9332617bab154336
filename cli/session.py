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

from cli.terminal import harmless, visible, with_colours

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console, RenderableType

    from api.client.client import Client
    from orchestrator.settings import Settings

DEFAULT_SERVER = "http://127.0.0.1:8081"
_PIPED_WIDTH = 250
"""Width of a table that is not on a screen: wide enough that no cell is folded."""


class Exit(IntEnum):
    """What the caller's shell learns."""

    OK = 0
    JOB_FAILED = 1  #: A job failed by itself, was cancelled or skipped; of a comparison: worse.
    USAGE = 2  #: What was asked for cannot be done as written; of a comparison: it could not be judged.
    SERVER = 3  #: The server is away, refuses the token, or is in trouble itself.
    FAULT = 4  #: The infrastructure failed: cards, hosts, or the embedded stack.
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

    output: Literal["table", "json"] = "table"
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

    server: Annotated[str, Parameter(env_var="TX81_SERVER")] = DEFAULT_SERVER
    "URL of the API."

    token_file: Path | None = None
    "File with the bearer token. Default: $TX81_TOKEN, else admin-token in $TX81_STATE_DIR or .tx81."

    def token(self) -> str:
        """The bearer token; `Stop` says where it was looked for."""
        if self.token_file is None and (given := os.environ.get("TX81_TOKEN")):
            return _usable(given.strip(), "TX81_TOKEN")
        file = self.token_file or Path(os.environ.get("TX81_STATE_DIR") or ".tx81", "admin-token")
        try:
            return _usable(file.read_text("utf-8").strip(), str(file))
        except OSError as error:
            raise Stop(
                f"no token: {file} cannot be read ({error.strerror}); set TX81_TOKEN or --token-file, "
                "or start a server with: tx81 up",
                Exit.SERVER,
            ) from None
        except UnicodeDecodeError:
            raise Stop(f"{file} has no token: it is not text", Exit.SERVER) from None

    def address(self) -> str:
        """The server's URL without a slash at its end."""
        if not self.server.startswith(("http://", "https://")):
            raise Stop(f"--server: {self.server!r} is not a URL; write it like {DEFAULT_SERVER}")
        return self.server.rstrip("/")

    @contextmanager
    def client(self, token: str | None = None) -> "Iterator[Client]":
        """A connected client; what the server refuses becomes a `Stop`."""
        from api.client.client import ApiError, Client, ServerUnreachable

        try:
            with Client(self.address(), self.token() if token is None else token) as client:
                yield client
        except ApiError as error:
            remedy = "; check TX81_TOKEN or --token-file" if error.status == 401 else ""
            raise Stop(f"{error}{remedy}", exit_of(error.status)) from error
        except ServerUnreachable as error:
            raise Stop(
                f"{error}; start one with: tx81 up, or name it with --server (TX81_SERVER)",
                Exit.SERVER,
            ) from error


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


def exit_of(status: int) -> Exit:
    """What an HTTP error status means for the shell: the caller's mistake, or the server's trouble."""
    return Exit.SERVER if status in (401, 403, 429) or status >= 500 else Exit.USAGE


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
