"""`tx81 answers`: what a job answered, and how that differs from its golden answers."""

import csv
import io
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Annotated, Literal

from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.console import Group

from api.client.client import ApiError
from api.documents.answers import AnswerView
from cli.commands.cached import job_that_ran
from cli.pages.answers import answer_differences
from cli.pages.jobs import answers_table
from cli.session import Exit, Session, hint, say

app = App(name="answers", help="Show a job's answers, and how they differ from golden ones.")
app.command(
    "cli.commands.answers_learn:learn", name="learn", help="Find the rule by which a profile reads the answers."
)

_SHOWN = 50
"""Answers in a table, unless --limit says otherwise."""


@Parameter(name="*")
@dataclass(frozen=True)
class AnswerSession(Session):
    """The options of every command, and one more format."""

    output: Annotated[Literal["table", "json", "csv"], Parameter(name=["--output", "-o"])] = "table"  # type: ignore[assignment]  # one more than others
    "Format of the result on standard output."


_HERE = AnswerSession()


@app.default
def answers(
    job: int,
    /,
    *,
    question: Annotated[int | None, Parameter(validator=Number(gte=0))] = None,
    wrong: Annotated[bool, Parameter(negative="")] = False,
    attempt: int | None = None,
    limit: Annotated[int | None, Parameter(name=["--limit", "-n"], validator=Number(gte=1))] = None,
    session: AnswerSession = _HERE,
) -> Exit:
    """Show what a job answered; answers that differ from their golden ones with the difference.

    Parameters
    ----------
    question
        Only the answers to this question, by its number in the column # (from 0, as the tools count).
    wrong
        Only answers that differ from their golden ones.
    attempt
        Number of the attempt. Default: the latest.
    limit
        Number of answers to show. Default: 50 in a table, all of them in other formats.
    """
    most = limit or (_SHOWN if session.output == "table" else None)
    filters = {"index": question, "exact": False if wrong else None}
    with session.client() as client:
        try:
            found = _begun(client.all_answers(job, attempt, **filters))
        except ApiError as refused:
            if attempt is not None:
                raise
            job = job_that_ran(client, job, "answers", refused)
            found = client.all_answers(job, **filters)
        shown = islice(found, most)
        if session.output == "csv":
            _print_csv(shown)
        else:
            given = list(shown)
            session.emit(given, Group(answers_table(given), *answer_differences(given)))
            if not given:
                hint(_nothing(job, question, wrong))
        if most is not None and next(found, None) is not None:
            hint(f"there are more than {most}: raise --limit, or use -o csv or -o json")
    return Exit.OK


def _begun(answers: Iterator[AnswerView]) -> Iterator[AnswerView]:
    """The same answers; the server was asked for the first of them."""
    first = next(answers, None)
    return chain(() if first is None else (first,), answers)


def _nothing(job: int, question: int | None, wrong: bool) -> str:
    """Why the list is empty, as far as it is known."""
    which = "" if question is None else f" to question {question}"
    if wrong:
        return f"job {job} has no answer{which} that differs from a golden one; without a golden, none is compared"
    return f"job {job} has no answer{which}; see: tx81 show {job}"


def _print_csv(answers: Iterator[AnswerView]) -> None:
    """One line an answer, with the columns of the JSON document."""
    _write_row(list(AnswerView.model_fields))
    for answer in answers:
        _write_row(list(answer.model_dump(mode="json").values()))


def _write_row(values: list[object]) -> None:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(values)
    say(lambda: _write(line.getvalue().encode("utf-8", "backslashreplace")))


def _write(line: bytes) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()
