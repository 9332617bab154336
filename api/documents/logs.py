"""The documents about logs."""

from datetime import datetime

from pydantic import Field

from api.documents.base import View
from orchestrator.model.states import AttemptState


class LogTimeView(View):
    """From byte `offset` on a log was written at about this moment."""

    offset: int
    at: datetime


class LogTimes(View):
    """When which part of the log of an attempt was written, in its order."""

    attempt: int
    items: tuple[LogTimeView, ...]


class LogLineView(View):
    """One line; the first is number 1."""

    number: int
    text: str = Field(description="Without its newline; what is no UTF-8 is U+FFFD.")
    left_out: int = Field(default=0, description="Bytes of its beginning that are not given: it is too long.")


class LogLines(View):
    """Consecutive lines of the log of an attempt."""

    attempt: int
    state: AttemptState
    total: int = Field(
        description="Lines that can be read now. Of an attempt that runs, the last one may still grow, and a flood is "
        "thinned until the log is complete."
    )
    items: tuple[LogLineView, ...]


class LogMatches(View):
    """Lines of a log in which something was found."""

    attempt: int
    matches: int = Field(description="Lines with a match.")
    earlier: int = Field(description="How many of them come before the first of `numbers`.")
    numbers: tuple[int, ...] = Field(description="Those next to the line `near`: up to 1,000 before it, 1,000 after.")
    complete: bool = Field(description="False if the time limit ended the search; then there may be more.")


class LogError(View):
    """The first line of a log that says what went wrong."""

    attempt: int
    number: int | None = Field(description="Null if no line does.")
    pattern: str = Field(description="What was searched for: that of the failure's signature, or words of errors.")
