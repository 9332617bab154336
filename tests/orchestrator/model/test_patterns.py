"""What a pattern may cost, told from its form."""

from math import isinf
from pathlib import Path

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from orchestrator.model.patterns import Pattern, steps
from orchestrator.settings import SHIPPED_PROFILES

ENDLESS = [
    "(a+)+b", "(a*)*", "(a|a)*b", "(a|aa)+$", "(.*)*x", "(?:x?)*y", r"(\w+\s?)+$", r"(a+)\1+b", "((a{0,99})+)",
    "(?:(?:a+))+?",
]  # fmt: skip


@pytest.mark.parametrize("pattern", ENDLESS)
def test_what_may_try_for_ever_is_told(pattern: str):
    assert isinf(steps(pattern, "a"))
    assert TypeAdapter(Pattern).validate_python(pattern) == pattern


@pytest.mark.parametrize(
    ("pattern", "most"),
    [
        ("Device or resource busy", 1e6),
        ("(?i)a|b|c", 1e6),
        ("a.*b", 1e4 * 1e4),
        (r"(?P<done>\d+)/(?P<total>\d+)", 1e4 * 1e6),
        ("x{2,5}(y|z){1,3}", 1e6),
    ],
)
def test_what_goes_line_by_line_is_counted_line_by_line(pattern: str, most: float):
    assert steps(pattern, "\n".join(["x" * 99] * 10_000)) <= most


@pytest.mark.parametrize("pattern", [r"a\s*b", "(?s)a.*b", "[^a]*b", r"a\D*b", "(?s:.*)b"])
def test_what_goes_over_lines_is_counted_as_one(pattern: str):
    assert steps(pattern, "x\n" * 10_000) >= 20_000**2


@pytest.mark.parametrize("pattern", ["(", "a" * 2001, "a{99999999999}", "(?P<a>x)(?P<a>y)", "[z-a]", "(" * 1900])
def test_what_is_no_pattern_is_refused_where_it_is_written(pattern: str):
    with pytest.raises(ValidationError):
        TypeAdapter(Pattern).validate_python(pattern)


@pytest.mark.parametrize("profile", sorted(SHIPPED_PROFILES.glob("*.yaml")), ids=lambda file: file.stem)
def test_the_shipped_signatures_are_tried_without_a_process_of_their_own(profile: Path):
    log = "\n".join(["an ordinary line of a log with some words in it"] * 1000)
    for signature in yaml.safe_load(profile.read_text()).get("fault_signatures", []):
        if signature.get("source", "output") == "output" and "pattern" in signature:
            assert steps(signature["pattern"], log) <= 1e6
