"""`python -m workers.load`: the load client as a program. Exit 0 if at least one request was answered."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx2
from pydantic import ValidationError

from orchestrator.model.client_specs import Load
from orchestrator.results.metrics import Measured
from workers.load.book import Book
from workers.load.conversation import PATIENCE, Conversation
from workers.load.driving import Driving
from workers.load.replies import ServerGone
from workers.toolchain.answers import read_prompts

_INTERRUPTED = 130
_SHOWN = ("_p50", "_p90", "_p99")


def main(argv: Sequence[str] | None = None) -> int:
    """Make the load that the command line describes; the last line says what is wrong, if anything is."""
    given = _parser().parse_args(argv)
    try:
        prompts = read_prompts(Path(given.prompts))
        if not prompts:
            return _failed(f"{given.prompts} has no questions")
        return asyncio.run(_made(given, prompts))
    except KeyboardInterrupt:
        return _INTERRUPTED
    except OSError as error:
        return _failed(f"{error.filename or given.out}: {error.strerror or error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m workers.load")
    parser.add_argument("--url", required=True, help="http://ADDRESS:PORT of the server")
    parser.add_argument("--host", help="its name and port, if the URL has its address")
    parser.add_argument("--model", required=True, help="name of the model on the server")
    parser.add_argument("--prompts", required=True, help="one question a line")
    parser.add_argument("--out", required=True, help="folder for answers, times and numbers")
    parser.add_argument("--max-tokens", type=int, required=True)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--load", type=_load, default=Load(), help="the shape of the load, as JSON")
    return parser


def _load(text: str) -> Load:
    try:
        return Load.model_validate_json(text)
    except ValidationError as error:
        raise argparse.ArgumentTypeError(error.errors()[0]["msg"]) from None


async def _made(given: argparse.Namespace, prompts: Sequence[str]) -> int:
    load: Load = given.load
    # A connection for each request: one that the server has closed in the meantime would look like a failure of its.
    unlimited = httpx2.Limits(max_connections=None, max_keepalive_connections=0)
    with Book(Path(given.out), goodput=load.goodput, open_loop=load.rate is not None) as book:
        headers = {"Host": given.host} if given.host else None
        # A redirect would lead to an address that nobody has checked.
        async with httpx2.AsyncClient(
            base_url=given.url, headers=headers, timeout=PATIENCE, limits=unlimited, trust_env=False,
            follow_redirects=False,
        ) as client:  # fmt: skip
            asking = Conversation(client, model=given.model, max_tokens=given.max_tokens, load=load)
            driving = Driving(asking, prompts, load, book, repeats=given.repeats)
            try:
                await driving.through()
            except ServerGone as gone:
                return _failed(f"no server at {given.url}: {gone}, after {driving.done} of {driving.total} requests")
        numbers = book.sum_up()
    _show(numbers)
    if not book.answered:
        sorts = ", ".join(f"{count} × {sort}" for sort, count in book.failed.most_common())
        return _failed(f"none of {driving.total} requests was answered: {sorts}")
    return 0


def _show(numbers: Sequence[Measured]) -> None:
    for number in numbers:
        plain = "_seconds_" not in number.name
        if plain or number.name.endswith(_SHOWN):
            print(f"{number.name:24} {number.value:12.6g} {number.unit}  (n={number.count})")


def _failed(reason: str) -> int:
    print(reason, file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
