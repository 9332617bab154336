"""Answers and golden answers as the tools write them: JSON lines, read with the keys that a profile names."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from orchestrator.comparison.answers import GivenAnswer, Golden
from orchestrator.model.profile import AnswersRule

T = TypeVar("T")

_LARGEST = 2**31 - 1
"""Of any whole number that goes into a column."""


class BadAnswers(Exception):
    """The file is there but cannot be what it should be; the text says where and why."""


def read_prompts(path: Path) -> list[str]:
    """The questions of a file: one a line, blank lines are none."""
    return [line.strip() for line in _text(path).split("\n") if line.strip()]


def count_prompts(path: Path) -> int:
    """How many questions the tool was given."""
    return len(read_prompts(path))


def read_golden(path: Path) -> Golden:
    """Reference answers, one JSON object a line with `question` and `answer` (or `response`, as a run writes them)."""
    pairs = []
    for where, row in _rows(path):
        answer = row.get("answer", row.get("response"))
        if not isinstance(row.get("question"), str) or not isinstance(answer, str):
            raise BadAnswers(f"{where} has no question and answer")
        pairs.append((_storable(row["question"]), _storable(answer)))
    return Golden(pairs)


def read_answers(paths: Iterable[Path], rule: AnswersRule) -> list[GivenAnswer]:
    """Every answer in the files, in their order; BadAnswers for a line that is none and for one given twice."""
    answers: dict[tuple[int, int, int], GivenAnswer] = {}
    for path in paths:
        for where, row in _rows(path):
            answer = _answer(row, rule, where)
            place = (answer.batch, answer.repeat, answer.index)
            if place in answers:
                which = f"question {answer.index} of repeat {answer.repeat}{_in(answer.batch)}"
                raise BadAnswers(f"{where} answers {which} a second time")
            answers[place] = answer
    return list(answers.values())


def problems_with(answers: list[GivenAnswer], *, prompts: int, repeats: int, batches: int = 1) -> list[str]:
    """What is missing, for a person to read; nothing if every batch has an answer to every prompt in every repeat."""
    given = Counter(answer.batch for answer in answers)
    if strangers := sorted(given.keys() - set(range(batches))):
        return [f"answers of batch {strangers[0]}, but only {batches} ran (they are counted from 0)"]
    wanted = prompts * repeats
    if short := [batch for batch in range(batches) if given[batch] != wanted]:
        sums = f"{wanted} ({prompts} prompts × {repeats} repeats)"
        return [f"{given[batch]} answers instead of {sums}{_in(batch) if batches > 1 else ''}" for batch in short]
    empty = [answer for answer in answers if not answer.text.strip()]
    if empty:
        first = empty[0]
        where = f"question {first.index} of repeat {first.repeat}{_in(first.batch)}"
        return [f"{len(empty)} answers are empty, first to {where}"]
    return []


def _in(batch: int) -> str:
    return f" in batch {batch}" if batch else ""


def _answer(row: dict[str, Any], rule: AnswersRule, where: str) -> GivenAnswer:
    return GivenAnswer(
        repeat=_needed(_whole(row, rule.repeat), rule.repeat, where),
        index=_needed(_whole(row, rule.index), rule.index, where),
        question=_needed(_string(row, rule.question), rule.question, where),
        text=_needed(_string(row, rule.text), rule.text, where),
        prompt_tokens=_whole(row, rule.prompt_tokens),
        output_tokens=_whole(row, rule.output_tokens),
        seconds=_real(row, rule.seconds),
        ttft_seconds=_real(row, rule.ttft_seconds),
        finish_reason=(_string(row, rule.finish_reason) or "")[:40] or None,
        batch=_needed(_whole(row, rule.batch), rule.batch, where) if rule.batch in row else 0,
    )


def _needed(value: T | None, key: str, where: str) -> T:
    if value is None:
        raise BadAnswers(f"{where} has no usable {key!r}")
    return value


def _whole(row: dict[str, Any], key: str | None) -> int | None:
    value = None if key is None else row.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST else None


def _real(row: dict[str, Any], key: str | None) -> float | None:
    value = None if key is None else row.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1e9:
        return None
    return float(value)


def _string(row: dict[str, Any], key: str | None) -> str | None:
    value = None if key is None else row.get(key)
    return _storable(value) if isinstance(value, str) else None


def _storable(text: str) -> str:
    """Without the two things that SQL text cannot hold: NUL, and halves of surrogate pairs."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _rows(path: Path) -> Iterable[tuple[str, dict[str, Any]]]:
    # Not splitlines(): inside a JSON string, U+2028 and its kin are characters like any other.
    for number, line in enumerate(_text(path).split("\n"), 1):
        if not line.strip():
            continue
        where = f"line {number} of {path.name}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            raise BadAnswers(f"{where} is not JSON") from None
        if not isinstance(row, dict):
            raise BadAnswers(f"{where} is not a JSON object")
        yield where, row


def _text(path: Path) -> str:
    return path.read_text("utf-8-sig", errors="replace")
