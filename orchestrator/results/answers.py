"""One prompt's answer, and whether it equals the reference."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GivenAnswer:
    """What a tool answered to one prompt in one repeat on one lane.

    Times in seconds; values that the tool does not report are None.
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
    """Which of the card groups that run in parallel, from 0."""
    batch_size: int | None = None
    """Number of groups that ran in parallel; None if the tool does not report it."""


@dataclass(frozen=True)
class CheckedAnswer:
    """An answer with its reference, if there is one."""

    given: GivenAnswer
    golden: str | None
    exact: bool | None


class Golden:
    """Reference answers, found by index if the question there is the same, otherwise by the text of the question.

    Space around a question is ignored, because tools strip it and people do not. Every character of an answer counts.
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
    """Digest of questions and answers, whatever their order: equal exactly if every answer is equal, character by
    character."""
    said = hashlib.sha256()
    for answer in sorted(answers, key=lambda each: (each.lane, each.repeat, each.index)):
        told = [answer.repeat, answer.index, answer.question, answer.text]
        # The first lane is not written: most runs have only one.
        said.update(json.dumps([*told, answer.lane] if answer.lane else told).encode() + b"\n")
    return f"sha256:{said.hexdigest()}"


def exact(text: str, golden: str | None) -> bool | None:
    """Whether the answer equals its reference character for character; None without one."""
    return None if golden is None else text == golden
