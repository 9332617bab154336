"""Patterns for answers that are text for people, found by looking for the prompts themselves. Pure.

A record begins with a line that ends in a prompt; what stands before the prompt is alike in every record but for its
numbers. The answer follows, after a label that all records have.
"""

import re
from collections.abc import Sequence
from itertools import takewhile

_LABEL = re.compile(
    r"(?i)\A\s*(?:\W{0,3}(?:answer|response|output|reply|result|a|回答|答案|答|输出)\W{0,3}[:：]|[:：])\s*"
)
_NUMBER = re.compile(r"[0-9]+")
_RULE = re.compile(r"[-=*#_~ ]{3,}")
"""A line of nothing but these closes a record."""


def text_patterns(text: str, prompts: Sequence[str]) -> tuple[str, str, int] | None:
    """`starts`, `pattern` and the number of records that they find; None if the text has no such records."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    heads = _heads(lines, prompts)
    if heads is None:
        return None
    starts = f"^{heads}"
    records = _split(lines, starts)
    label = _label(records)
    tail = _tail(records) or _heading(_before(lines, starts), records)
    pattern = f"(?s){starts}(?P<question>[^\\n]*)\\n{label}(?P<text>.*?){tail}\\s*$"
    found = [re.search(pattern, record) for record in records]
    asked = [each["question"].strip() for each in found if each is not None]
    return (starts, pattern, len(records)) if len(asked) == len(records) and set(asked) == set(prompts) else None


def _heads(lines: Sequence[str], prompts: Sequence[str]) -> str | None:
    """What stands before a prompt in its line, as a pattern, if every prompt has such a line."""
    candidates: dict[str, set[str]] = {}
    for line in lines:
        for prompt in set(prompts):
            if line.rstrip().endswith(prompt):
                head = line.rstrip()[: -len(prompt)]
                # Without a label, any line of an answer could begin a record.
                if head.strip():
                    candidates.setdefault(_generalised(head), set()).add(prompt)
    whole = [head for head, found in candidates.items() if found == set(prompts)]
    return max(whole, key=len) if whole else None


def _generalised(text: str) -> str:
    return "[0-9]+".join(re.escape(part) for part in re.split(r"[0-9]+|\0", text))


def _split(lines: Sequence[str], starts: str) -> list[str]:
    records: list[list[str]] = []
    for line in lines:
        if re.search(starts, line):
            records.append([])
        if records:
            records[-1].append(line)
    return ["\n".join(record).rstrip("\n") for record in records]


def _before(lines: Sequence[str], starts: str) -> list[str]:
    """The lines before the first record."""
    return list(takewhile(lambda line: not re.search(starts, line), lines))


def _label(records: Sequence[str]) -> str:
    """What stands before the answer in every record."""
    bodies = [record.partition("\n")[2] for record in records]
    if len(bodies) > 1:
        # Only up to the first colon or bracket: what follows may be how all answers begin.
        common = _common_beginning([_NUMBER.sub("\0", body) for body in bodies]).partition("\n")[0]
        label = re.match(r"\[[^\]]*\]\s*[:：]?|【[^】]*】\s*[:：]?|[^:：]*[:：]", common)
    else:
        label = _LABEL.match(bodies[0])
    if label is None or not label[0].strip():
        return ""
    return f"\\s*{_generalised(label[0].strip())}\\s*"


def _common_beginning(texts: Sequence[str]) -> str:
    low, high = min(texts), max(texts)
    differ = (at for at, (one, other) in enumerate(zip(low, high, strict=False)) if one != other)
    return low[: next(differ, len(low))]


def _tail(records: Sequence[str]) -> str:
    """A line that closes every record but perhaps the last."""
    closing = {record.rstrip().rpartition("\n")[2].strip() for record in (records[:-1] or records)}
    (first, *more) = closing
    return f"(?:\\n{re.escape(first)})?" if not more and _RULE.fullmatch(first) else ""


def _heading(before: Sequence[str], records: Sequence[str]) -> str:
    """A line above each record, alike but for its numbers: it is read at the end of the record before."""
    if len(records) < 2 or not before or not before[-1].strip():
        return ""
    above = {_NUMBER.sub("\0", line.rstrip()) for line in (before[-1], *map(_last_line, records[:-1]))}
    (first, *more) = above
    return "" if more else f"(?:\\n{_generalised(first)})?"


def _last_line(record: str) -> str:
    return record.rstrip().rpartition("\n")[2]
