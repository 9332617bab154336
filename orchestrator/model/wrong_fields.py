"""Where in a person's document a validation error is, and which of many errors are worth reporting. Pure.

Pydantic's own places name the members of unions (`spec.infer.kcore.JobOutput.artifact`) and list what is wrong with
every member; a person wants `spec.kcore.artifact`, seen from the member that was most likely meant.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from orchestrator.model.known_keys import known_keys
from orchestrator.model.near_misses import did_you_mean
from orchestrator.model.spec_words import DIGEST_PATTERN, NAME_PATTERN

SUBMITTER_PATTERN = f"^(schedule )?{NAME_PATTERN.removeprefix('^')}"
"""Name of a token, or `schedule NAME`."""

MOST_ERRORS = 50
"""A hostile document can have a million wrong fields; nobody reads more than the first few."""

MOST_READ = 10 * MOST_ERRORS
"""How many are looked at to find those."""

_Place = tuple[str | int, ...]
_PATTERNS = {
    NAME_PATTERN: "a name is 1 to 100 of A-Z a-z 0-9 . _ - and begins with a letter or a digit",
    SUBMITTER_PATTERN: "a user is the name of a token (1 to 100 of A-Z a-z 0-9 . _ -), or 'schedule NAME'",
    DIGEST_PATTERN: "a digest is sha256: and 64 of 0-9 a-f",
    r"\S": "must not be empty",
    r"^[^\x00]*$": "must not contain the character NUL",
    r"^[\x20-\x7e]*$": "must be printable ASCII characters",
    r"^[\x20-\x7e]{1,200}$": "must be 1 to 200 printable ASCII characters",
    r"^[!-~]*$": "must be printable ASCII characters without blanks",
    r"^[^\x00-\x1f/]+$": "must not contain / or control characters",
    r"^[!-~]+$": "must be printable ASCII characters without blanks",
    r"^/[!-~]*$": "must be a path of a server: / and printable ASCII characters without blanks",
    r"^https?://[!-~]+$": "must be an address that begins with http:// or https://, without blanks",
    r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$": "is 1 to 63 of A-Z a-z 0-9 . _ - and begins with a letter or a digit",
    r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$": "is 1 to 128 of A-Z a-z 0-9 . _ - and begins with a letter or a digit",
    r"^[A-Za-z0-9/][A-Za-z0-9/_.-]*$": "must be a path of A-Z a-z 0-9 / . _ - that does not begin with a sign but /",
    r"^[A-Za-z0-9_][A-Za-z0-9_.:-]*$": "must be a user of A-Z a-z 0-9 . _ : - as in 1000:1000",
    r"^[a-z][a-z0-9_]{0,59}$": "the name of a metric is 1 to 60 of a-z 0-9 _ and begins with a letter",
    r"^[A-Za-z0-9._=,-]{1,800}$": "a cell is written like model=qwen,prompts=basic",
    r"^[A-Za-z0-9_+/-]+$": "a time zone is written like Asia/Shanghai or UTC",
    "^((job|batch|pipeline|run):)?[0-9]{1,19}$": "is written 12 or job:12, batch:3, pipeline:7 or run:5",
}
"""What patterns ask for; a test checks that none is missing."""
_ONE_OF = re.compile(r"\^\(([a-z0-9_|]+)\)\$")
"""A pattern that is a list of words."""
_QUOTED = re.compile(r"'([^']*)'")
_A_TIME = "must be a date and time with its zone, e.g. 2026-03-01T14:00:00+08:00"
_A_MAPPING = "must be a mapping of names to values"
_UNKNOWN = "extra_forbidden"
_IN_PLAIN_WORDS = {
    _UNKNOWN: "unknown field",
    "missing": "is missing; add it",
    "string_type": "must be text",
    "string_too_short": "must have at least {min_length} character(s)",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "does not have the expected form {pattern}",
    "int_type": "must be an integer",
    "int_parsing": "must be an integer",
    "int_from_float": "must be an integer",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "enum": "must be one of {expected}",
    "literal_error": "must be one of {expected}",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": _A_MAPPING,
    "model_type": _A_MAPPING,
    "model_attributes_type": _A_MAPPING,
    "too_short": "must have at least {min_length} entries, and has {actual_length}",
    "too_long": "must have at most {max_length} entries",
    "union_tag_invalid": "the value of {discriminator} must be one of {expected_tags}, not {tag!r}",
    "union_tag_not_found": "has no {discriminator}; add it",
    "datetime_type": _A_TIME,
    "datetime_parsing": _A_TIME,
    "datetime_from_date_parsing": _A_TIME,
    "timezone_aware": _A_TIME,
    "none_required": "must be null, or left out",
}
"""What a person reads instead of Pydantic's words, by the type of the error."""


@dataclass(frozen=True)
class WrongField:
    """A field that was refused: its dotted path in the document (empty: all of it), why, and Pydantic's error type."""

    field: str
    message: str
    type: str


@dataclass(frozen=True)
class _Found:
    branches: tuple[tuple[_Place, str | int], ...]
    """The union members on the way: the place of the union, and which member."""
    wrong: WrongField


def wrong_fields(errors: Sequence[Mapping[str, Any]], document: Any, model: Any = None) -> list[WrongField]:
    """Pydantic's errors about a document (JSON, YAML or the same as plain data), without what no person wrote.

    Of a union, those of the member that fits best; each at most once, and at most `MOST_ERRORS`. With the `model` of
    the document, misspelt keys are first, each with the one that was probably meant.
    """
    found = [_found(error, document, model) for error in errors[:MOST_READ]]
    weights = Counter(branch for entry in found for branch in entry.branches)
    best: dict[_Place, tuple[_Place, str | int]] = {}
    for branch in weights:
        known = best.setdefault(branch[0], branch)
        if weights[branch] < weights[known]:
            best[branch[0]] = branch
    likely = [entry.wrong for entry in found if all(best[place] == (place, name) for place, name in entry.branches)]
    # One at a field that a validator filled in looks like a union's member; whatever happens, something is reported.
    reported = list(dict.fromkeys(likely or [entry.wrong for entry in found]))[:MOST_ERRORS]
    return sorted(reported, key=lambda wrong: wrong.type != _UNKNOWN or wrong.message == _IN_PLAIN_WORDS[_UNKNOWN])


def plain_message(error: Mapping[str, Any]) -> str:
    """What is wrong, in a person's words where Pydantic's are none."""
    about = error.get("ctx") or {}
    pattern = about.get("pattern", "")
    if known := _PATTERNS.get(pattern):
        return known
    if listed := _ONE_OF.fullmatch(pattern):
        words = listed[1].split("|")
        return f"must be one of {', '.join(words)}{did_you_mean(error.get('input'), words)}"
    if (plain := _IN_PLAIN_WORDS.get(error["type"])) is not None:
        with suppress(KeyError, ValueError):
            return f"{plain.format(**about)}{_meant(error, about)}"
    return str(error["msg"]).removeprefix("Value error, ")


def _meant(error: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    """Which of the words that are taken was probably meant; empty if none is like what was given."""
    taken = about.get("expected") or about.get("expected_tags")
    given = about.get("tag", error.get("input"))
    return did_you_mean(given, _QUOTED.findall(taken)) if isinstance(taken, str) else ""


def dotted(place: Sequence[str | int]) -> str:
    """A place in a document as a person reads it."""
    return ".".join(str(part) for part in place)


def _found(error: Mapping[str, Any], whole: Any, model: Any) -> _Found:
    path: Sequence[str | int] = error["loc"]
    document = whole
    place: _Place = ()
    branches: list[tuple[_Place, str | int]] = []
    for number, part in enumerate(path, start=1):
        absent = number == len(path) and error["type"] == "missing"
        if _holds(document, part) or absent:
            place, document = (*place, part), None if absent else document[part]
        else:
            branches.append((place, part))
    message = plain_message(error)
    if error["type"] == _UNKNOWN and model is not None and place:
        message += did_you_mean(place[-1], known_keys(model, place[:-1], whole))
    return _Found(tuple(branches), WrongField(dotted(place), message, error["type"]))


def _holds(document: Any, part: str | int) -> bool:
    if isinstance(document, dict):
        return part in document
    return isinstance(document, list | tuple) and isinstance(part, int) and part < len(document)
