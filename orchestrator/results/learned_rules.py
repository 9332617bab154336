"""The rule by which answers are read, found from files that nobody has read before. Pure.

Tried in this order: JSON lines, one JSON list, text records. A file fits if every prompt is found in it as a question
with an answer; a rule is only returned after it has read the files that it was found from.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from orchestrator.model.answer_rules import AnswersRule, JsonAnswers, TextAnswers
from orchestrator.results.learned_records import text_patterns

_TEXT_NAMES = (
    "response", "answer", "output", "text", "completion", "generated_text", "generated", "content", "result", "reply",
    "回答", "答案", "输出",
)  # fmt: skip
_NUMBER_NAMES = {
    "repeat": r"(?i)repeat|round|loop|iteration|轮",
    "batch": r"(?i)^(batch|bid|lane|group)(_?(id|index|no|num))?$",
    "batch_size": r"(?i)^(batch_?size|bs)$",
    "prompt_tokens": r"(?i)^(prompt|input)_?(tokens|len|length)$",
    "output_tokens": r"(?i)^(output|completion|generated|response|answer|new)_?(tokens|len|length)$|^tokens$",
    "seconds": r"(?i)^(seconds|duration|elapsed|latency|cost|total_time|time)(_s|_sec|_seconds)?$",
    "ttft_seconds": r"(?i)ttft|first_token",
}
_FIRST = {"repeat": 1}
"""The lowest number that a column may have; others begin at 0."""
_WORD_NAMES = {"finish_reason": r"(?i)^(finish|stop)_?reason$"}
_IN_NAMES = {"batch_size": r"(?i)batch_?size_(?P<batch_size>[1-9][0-9]?)_", "batch": r"_bid_(?P<batch>[0-9]+)_"}


@dataclass(frozen=True)
class LeftFile:
    """A file that a run wrote; `path` is relative to the folder that rules search."""

    path: str
    text: str


@dataclass(frozen=True)
class Learned:
    """A rule that fits, the files that it reads, and how many answers are in them."""

    rule: AnswersRule
    files: tuple[str, ...]
    answers: int


def learned(files: Sequence[LeftFile], prompts: Sequence[str], *, search: str = "{out}") -> Learned | None:
    """The first rule that fits; None if no known reader understands any of the files."""
    if not prompts:
        return None
    for reader in (_json_lines, _json_list, _records):
        for file in files:
            found = reader(file, prompts)
            if found is not None:
                return _for_all_alike(found, reader, file, files, prompts, search)
    return None


def _for_all_alike(
    found: tuple[dict[str, Any], int],
    reader: "Reader",
    file: LeftFile,
    files: Sequence[LeftFile],
    prompts: Sequence[str],
    search: str,
) -> Learned:
    """The rule with a glob for the files that it was found to fit."""
    document, count = found
    fitting = {file.path: count}
    for other in files:
        read = None if other is file else reader(other, prompts)
        if read is not None and read[0] == document:
            fitting[other.path] = read[1]
    glob = _glob(list(fitting), [other.path for other in files])
    told = {"glob": glob, **({} if search == "{out}" else {"search": search}), **_of_names(list(fitting)), **document}
    rule = TextAnswers if document["format"] == "regex" else JsonAnswers
    return Learned(rule.model_validate(told), tuple(sorted(fitting)), sum(fitting.values()))


def _glob(fitting: Sequence[str], everything: Sequence[str]) -> str:
    """By the ending alone if only fitting files have it; else by the name with `*` for each number."""
    suffix = PurePath(fitting[0]).suffix
    if suffix and {path for path in everything if PurePath(path).match(f"*{suffix}")} == set(fitting):
        depth = len(PurePath(fitting[0]).parts)
        if all(len(PurePath(path).parts) == depth for path in fitting):
            return "/".join(["*"] * (depth - 1) + [f"*{suffix}"])
    return re.sub(r"[0-9]+", "*", re.sub(r"[\[\]?*]", "?", fitting[0]))


def _of_names(paths: Sequence[str]) -> dict[str, str]:
    """What the names of all files tell of the answers in them."""
    patterns = [
        pattern for pattern in _IN_NAMES.values() if all(re.search(pattern, PurePath(path).name) for path in paths)
    ]
    return {"file_name": ".*".join(patterns)} if patterns else {}


Reader = Callable[[LeftFile, Sequence[str]], tuple[dict[str, Any], int] | None]


def _json_lines(file: LeftFile, prompts: Sequence[str]) -> tuple[dict[str, Any], int] | None:
    try:
        rows = [json.loads(line) for line in re.split(r"\r\n|\r|\n", file.text) if line.strip()]
    except (ValueError, RecursionError):
        return None
    return _keys(rows, prompts, "json_lines")


def _json_list(file: LeftFile, prompts: Sequence[str]) -> tuple[dict[str, Any], int] | None:
    try:
        rows = json.loads(file.text)
    except (ValueError, RecursionError):
        return None
    return _keys(rows, prompts, "json") if isinstance(rows, list) else None


def _keys(rows: Sequence[Any], prompts: Sequence[str], form: str) -> tuple[dict[str, Any], int] | None:
    if not rows or not all(isinstance(row, dict) for row in rows):
        return None
    common = [key for key in rows[0] if all(key in row for row in rows)]
    texts = [key for key in common if all(isinstance(row[key], str) for row in rows)]
    wanted = set(prompts)
    question = next((key for key in texts if {row[key].strip() for row in rows} == wanted), None)
    others = [key for key in texts if key != question]
    if question is None or not others:
        return None
    named = [key for name in _TEXT_NAMES for key in others if key.lower() == name]
    text = named[0] if named else max(others, key=lambda key: sum(len(row[key]) for row in rows))
    told: dict[str, Any] = {"format": form, "question": question, "text": text}
    numbers = [key for key in common if all(_is_number(row[key]) for row in rows)]
    told |= _index(rows, numbers, question, prompts)
    told |= _named(numbers, _NUMBER_NAMES, taken=set(told.values()), rows=rows)
    told |= _named([key for key in others if key != text], _WORD_NAMES, taken=set(), rows=rows)
    return told, len(rows)


def _index(
    rows: Sequence[Mapping[str, Any]], numbers: Sequence[str], question: str, prompts: Sequence[str]
) -> dict[str, Any]:
    """The key that numbers the questions, from 0 or from 1."""
    if len(set(prompts)) < len(prompts):
        return {}
    at = {prompt: number for number, prompt in enumerate(prompts)}
    for first in (0, 1):
        for key in numbers:
            if all(row[key] == at[row[question].strip()] + first for row in rows):
                return {"index": key, "counts_from": first} if first else {"index": key}
    return {}


def _named(
    keys: Sequence[str], patterns: Mapping[str, str], *, taken: set[Any], rows: Sequence[Mapping[str, Any]]
) -> dict[str, str]:
    told: dict[str, str] = {}
    for column, pattern in patterns.items():
        for key in keys:
            low = _FIRST.get(column, 0)
            whole = column not in ("repeat", "batch", "batch_size") or all(type(row[key]) is int for row in rows)
            fits = column in _WORD_NAMES or (whole and all(row[key] >= low for row in rows))
            if re.search(pattern, key) and key not in taken and fits and key not in told.values():
                told[column] = key
                break
    return told


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _records(file: LeftFile, prompts: Sequence[str]) -> tuple[dict[str, Any], int] | None:
    found = text_patterns(file.text, prompts)
    if found is None:
        return None
    starts, pattern, count = found
    return {"format": "regex", "starts": starts, "pattern": pattern}, count
