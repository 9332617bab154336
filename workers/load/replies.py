"""What becomes of a request: an answer, or why there is none."""

from dataclasses import dataclass


class Unanswered(Exception):
    """A request that was not answered to its end: `sort` is a word to count by, the text what is known of it."""

    def __init__(self, sort: str, told: str) -> None:
        super().__init__(told)
        self.sort = sort


class ServerGone(Exception):
    """Nobody listens there any more."""


@dataclass(frozen=True, slots=True)
class Heard:
    """One whole answer; times of the monotonic clock, of thinking as of text."""

    text: str
    finish_reason: str
    sent: float
    first: float
    last: float
    gaps: tuple[float, ...]
    prompt_tokens: int | None
    output_tokens: int | None
    reasoning: str = ""
    """What the model thought before it, where the server keeps that apart."""
