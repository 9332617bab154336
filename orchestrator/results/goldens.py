"""Files of reference answers as people and tools write them → one answer for every prompt. Pure.

Stored, a golden is JSON lines: `{"question": …, "answer": …}`, one for each prompt and in their order.
"""

import json
import math
from collections.abc import Iterable, Sequence
from json import JSONDecodeError
from typing import Literal

from orchestrator.errors import BadSpec
from orchestrator.results.answers import Golden
from orchestrator.results.prompts import lines_of
from orchestrator.strict_json import BadDocument, loads

Format = Literal["auto", "json_lines", "lines"]
"""`json_lines`: objects with the texts `question` and `answer` (or `response`, as a run writes them); `lines`: one
answer a line, in the order of the prompts; `auto`: detected from the content."""

_SHOWN = 60

MOST_LINE_VALUES = 10_000
"""Largest number of values in one line; a tool may write the time of each token with the answer."""


def paired(text: str, prompts: Sequence[str], how: Format, *, field: str) -> list[tuple[str, str]]:
    """Every prompt with its reference answer; BadSpec names the line that is wrong, or the prompt that has none."""
    lines = [(number, line) for number, line in enumerate(lines_of(text.rstrip()), start=1)]
    if how == "lines" or (how == "auto" and not text.lstrip().startswith("{")):
        found = [(prompt, answer) for prompt, answer in zip(prompts, _plain(lines, field), strict=False)]
        _check_count(lines, prompts, field)
        return found
    lines = [(number, line) for number, line in lines if line.strip()]
    pairs = [pair_in(line, number, field) for number, line in lines]
    known = {prompt.strip() for prompt in prompts}
    for (number, _), (question, _) in zip(lines, pairs, strict=True):
        if question.strip() not in known:
            raise BadSpec(f"line {number} answers {_short(question)}, which is none of the prompts", field=field)
    _check_count(lines, prompts, field)
    golden = Golden(pairs)
    answers = [golden.answer_to(prompt, index) for index, prompt in enumerate(prompts)]
    for index, (prompt, answer) in enumerate(zip(prompts, answers, strict=True), start=1):
        if answer is None:
            raise BadSpec(f"prompt {index} has no answer: {_short(prompt)}", field=field)
    return [(prompt, answer) for prompt, answer in zip(prompts, answers, strict=True) if answer is not None]


def pair_in(line: str, number: int, field: str) -> tuple[str, str]:
    """Question and answer of one JSON line; BadSpec if it has none."""
    try:
        entry = loads(line, most_values=MOST_LINE_VALUES, largest=math.inf)
    except JSONDecodeError:
        entry = None
    except BadDocument as bad:
        told = bad.what.partition(";")[0] if bad.field is None else f"{bad.field}: {bad.what.partition(';')[0]}"
        raise BadSpec(f'line {number} is not {{"question": …, "answer": …}}: {told}', field=field) from None
    question, answer = (
        (entry.get("question"), entry.get("answer", entry.get("response"))) if isinstance(entry, dict) else (None, None)
    )
    if not isinstance(question, str) or not isinstance(answer, str):
        raise BadSpec(f'line {number} is not {{"question": …, "answer": …}}', field=field)
    return question, answer


def document(pairs: Iterable[tuple[str, str]]) -> bytes:
    """The golden as it is stored."""
    rows = (json.dumps({"question": question, "answer": answer}, ensure_ascii=False) for question, answer in pairs)
    return "".join(f"{row}\n" for row in rows).encode("utf-8", "surrogatepass")


def _plain(lines: Sequence[tuple[int, str]], field: str) -> list[str]:
    for number, line in lines:
        if not line.strip():
            raise BadSpec(f"line {number} is empty: write one answer a line, or JSON lines", field=field)
    return [line for _, line in lines]


def _check_count(lines: Sequence[tuple[int, str]], prompts: Sequence[str], field: str) -> None:
    if len(lines) > len(prompts):
        beyond = f"line {lines[len(prompts)][0]} is one too many"
        raise BadSpec(f"{len(lines)} answers, but {len(prompts)} prompts: {beyond}", field=field)
    if len(lines) < len(prompts):
        first = f"after line {lines[-1][0]} the answer to {_short(prompts[len(lines)])} is missing" if lines else "none"
        raise BadSpec(f"{len(lines)} answers, but {len(prompts)} prompts: {first}", field=field)


def _short(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")
