"""`tx81 results`: numbers and answers of many jobs, on the terminal or as a file."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from cli.commands.listing import slot_id
from cli.commands.unknown_names import hint_if_unknown
from cli.input.numbers import Limit
from cli.input.times import moment
from cli.output_files import new_file, require_new
from cli.pages.results import answers_table, metrics_table
from cli.session import FILE_HERE, Exit, FileSession, Session, hint, hint_on_terminal

app = App(name="results", help="Numbers and answers of many jobs as data: `metrics`, `answers`.")

DAY = timedelta(days=1)


@Parameter(name="*")
@dataclass(frozen=True)
class Wanted:
    """Whose results, and where they go."""

    batch: int | None = None
    pipeline: int | None = None
    project: str | None = None
    model: str | None = None
    release: str | None = None

    kcore: str | None = None
    "Digest of the kernel image that ran."

    slot: str | None = None
    "Only jobs that ran on this slot (HOST.g3, or g3 if only one host has it)."

    since: str | None = None
    "Only jobs that ended at this time or later: 14:00 (the last), '2026-03-01 14:00', or with a time zone."

    until: str | None = None
    "Only jobs that ended before, in the same format."

    limit: Limit = 50
    "Number of lines to show; a file has all."

    format: Literal["csv", "jsonl", "parquet"] | None = None
    "Write all of it in this format. Parquet needs the extra `parquet` on the server."

    to: Annotated[Path | None, Parameter(name=["--to", "-o"])] = None
    "File to write; csv unless --format says otherwise. An existing file is not overwritten."

    def filters(self, jobs: Iterable[int]) -> dict[str, Any]:
        """What the API is asked."""
        equal = {name: getattr(self, name) for name in _EQUAL}
        return {
            "job": list(jobs),
            **equal,
            "since": _ended(self.since, "--since"),
            "until": _ended(self.until, "--until"),
        }


_EQUAL = ("batch", "pipeline", "project", "model", "release", "kcore", "slot")
_EVERYTHING = Wanted()


@app.command(name="metrics")
def metrics(
    *jobs: int, metric: list[str] | None = None, wanted: Wanted = _EVERYTHING, session: FileSession = FILE_HERE
) -> Exit:
    """List what runs measured, newest first; with --format or -o, write every number as one line of a file.

    Parameters
    ----------
    metric
        Only numbers with this name, such as output_throughput; may be repeated.
    """
    chosen = {**wanted.filters(jobs), "metric": metric}
    if wanted.format is not None or wanted.to is not None:
        return _export("metrics", wanted, chosen, session)
    with session.client() as client:
        chosen["slot"] = wanted.slot and slot_id(client, wanted.slot)
        found = client.results.metrics(limit=wanted.limit, **chosen)
        session.emit(found.items, metrics_table(found.items))
        hint_if_unknown(client, found.items, **chosen)
    return _ended_list(found.next)


@app.command(name="answers")
def answers(*jobs: int, wanted: Wanted = _EVERYTHING, session: FileSession = FILE_HERE) -> Exit:
    """List answers, newest job first; with --format or -o, write every answer as one line of a file."""
    chosen = wanted.filters(jobs)
    if wanted.format is not None or wanted.to is not None:
        return _export("answers", wanted, chosen, session)
    with session.client() as client:
        chosen["slot"] = wanted.slot and slot_id(client, wanted.slot)
        found = client.results.answers(limit=wanted.limit, **chosen)
        session.emit(found.items, answers_table(found.items))
        hint_if_unknown(client, found.items, **chosen)
    return _ended_list(found.next)


def _ended(text: str | None, option: str) -> datetime | None:
    """A time of day is the last one: the next after yesterday's present time."""
    return None if text is None else moment(text, option, after=datetime.now(UTC) - DAY)


def _ended_list(following: str | None) -> Exit:
    if following is not None:
        hint_on_terminal("there are more: raise --limit, or write all of it with -o FILE")
    return Exit.OK


def _export(what: Literal["metrics", "answers"], wanted: Wanted, chosen: dict[str, Any], session: Session) -> Exit:
    with session.client() as client:
        chosen["slot"] = wanted.slot and slot_id(client, wanted.slot)
        pieces = client.results.export(what, wanted.format or "csv", **chosen)
        if wanted.to is None:
            for piece in pieces:
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
            return Exit.OK
        require_new(wanted.to)
        with new_file(wanted.to) as written:
            for piece in pieces:
                written.write(piece)
    hint(f"written: {wanted.to}")
    return Exit.OK
