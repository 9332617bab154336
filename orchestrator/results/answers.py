"""One prompt's answer, and whether it is the one that was expected."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GivenAnswer:
    """What a tool answered to one prompt in one repeat on one lane.

    Times in seconds; what the tool does not report is None.
    """

    repeat: int
    index: int
    question: str
    text: str
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    seconds: float | None = None
    ttft_seconds: float | None = None
    finish_reason: str | None = None
    lane: int = 0
    """Which of the groups that answer side by side, from 0."""
    batch_size: int | None = None
    """How many groups answered side by side; None where the tool does not tell."""


@dataclass(frozen=True)
class CheckedAnswer:
    """An answer with its reference, if there is one."""

    given: GivenAnswer
    golden: str | None
    exact: bool | None


class Golden:
    """Reference answers, found by place if the question there is the same, else by the text of the question.

    Space around a question does not count: tools strip it, people do not. Everything in an answer counts.
    """

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self._pairs = [(question.strip(), answer) for question, answer in pairs]
        self._by_question = dict(reversed(self._pairs))

    def answer_to(self, question: str, index: int) -> str | None:
        """The reference for a question; None if there is none."""
        wanted = question.strip()
        if 0 <= index < len(self._pairs) and self._pairs[index][0] == wanted:
            return self._pairs[index][1]
        return self._by_question.get(wanted)


def digest_of(answers: Iterable[GivenAnswer]) -> str:
    """Of what was asked and answered, in any order of telling: equal exactly if every answer is, to the letter."""
    said = hashlib.sha256()
    for answer in sorted(answers, key=lambda each: (each.lane, each.repeat, each.index)):
        told = [answer.repeat, answer.index, answer.question, answer.text]
        # The first lane is left out: most runs have only one.
        said.update(json.dumps([*told, answer.lane] if answer.lane else told).encode() + b"\n")
    return f"sha256:{said.hexdigest()}"


def exact(text: str, golden: str | None) -> bool | None:
    """Whether the answer equals its reference character for character; None without one."""
    return None if golden is None else text == golden
