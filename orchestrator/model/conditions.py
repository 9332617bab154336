"""Conditions of a profile on the spec of a job: `golden`, `not gm`, `groups > 1 and dtype == int8`. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator

_NAME = r"[a-z][a-z0-9_]*"
_TERM = re.compile(
    rf"(?P<no>not\s+)?(?P<name>{_NAME})|(?P<left>{_NAME})\s*(?P<op>==|!=|<=|>=|<|>)\s*(?P<value>[\w./:-]+)"
)
_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")


@dataclass(frozen=True)
class Term:
    """One comparison; without `op`, whether the field is given, and not false."""

    name: str
    op: str
    value: str | float | bool

    def holds(self, given: Any) -> bool:
        """Whether it is true of the value of its field; an order holds between numbers only."""
        is_given = given is not None and given is not False
        if self.op in ("given", "not given"):
            return is_given is (self.op == "given")
        if self.op in ("==", "!="):
            return _equal(given, self.value) is (self.op == "==")
        if not _is_number(given):
            return False
        assert isinstance(self.value, float)
        low, high = float(given), self.value
        return {"<": low < high, "<=": low <= high, ">": low > high, ">=": low >= high}[self.op]


def terms_of(condition: str) -> tuple[Term, ...]:
    """What has to hold, all of it; ValueError says how conditions are written."""
    return tuple(_term(part.strip(), condition) for part in re.split(r"\s+and\s+", condition))


def holds(condition: str, fields: Mapping[str, Any]) -> bool:
    """Whether a condition is true of a spec; a field that it does not have is not given."""
    return all(term.holds(fields.get(term.name)) for term in terms_of(condition))


def _term(text: str, condition: str) -> Term:
    found = _TERM.fullmatch(text)
    if found is None:
        raise ValueError(
            f"{condition!r} is no condition: write a field (golden, not gm), or compare it with a number or a word "
            "(groups > 1, dtype == int8); join several by and"
        )
    if found["name"] is not None:
        return Term(found["name"], "not given" if found["no"] else "given", True)
    value = _value(found["value"])
    if found["op"] not in ("==", "!=") and not isinstance(value, float):
        raise ValueError(f"{condition!r}: {found['op']} compares with a number, not with {found['value']}")
    return Term(found["left"], found["op"], value)


def _value(text: str) -> str | float | bool:
    if _NUMBER.fullmatch(text):
        return float(text)
    return {"true": True, "false": False}.get(text, text)


def _equal(given: Any, value: str | float | bool) -> bool:
    if isinstance(given, bool) or isinstance(value, bool):
        return given is value
    return float(given) == value if _is_number(given) and isinstance(value, float) else str(given) == value


def _is_number(given: Any) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool)


def _parses(condition: str) -> str:
    terms_of(condition)
    return condition


Condition = Annotated[str, AfterValidator(_parses)]
