"""YAML that is taken, and YAML that is refused."""

import pytest
import yaml

from orchestrator.strict_json import BadDocument
from orchestrator.strict_yaml import load

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\nb: [x, 'y', 2.5, true, no, ~, 0x10, 1_000]\nc: {d: e}\n",
        "- a\n- b: |\n    text\n    more\n- >-\n  folded\n  text\n",
        "base: &base {x: 1, y: 2}\nuse:\n  <<: *base\n  y: 3\nagain: *base\n",
        "x: &x {a: 1}\ny: &y {b: 2, a: 3}\nz: {<<: [*x, *y]}\n",
        "!!str 12: 1\nb: !!int '3'\n",
        "",
        "# nothing\n",
    ],
)
def test_what_people_write_is_read_as_everybody_reads_it(text):
    assert load(text).values == yaml.safe_load(text)


def test_keys_and_dates_are_the_texts_that_are_written():
    assert load("on: 2026-01-02\n1: yes\n").values == {"on": "2026-01-02", "1": True}


def test_each_entry_has_its_line():
    assert load("a:\n  - b\n  - c: 1\n").lines == {("a",): 1, ("a", 0): 2, ("a", 1): 3, ("a", 1, "c"): 3}


REFUSED = [
    ("a: 1\nb: 2\na: 3\n", "a", 3, "is given a second time; the first is on line 1"),
    ("jobs:\n  convert: {}\n  'convert': {}\n", "jobs.convert", 3, "is given a second time"),
    ("- {a: 1, a: 2}", "0.a", 1, "is given a second time"),
    ("a: {<<: {b: 1}, <<: {c: 1}}", "a.<<", 1, "is given a second time"),
    ("1: a\n'1': b", "1", 2, "is given a second time"),
    (BOMB, None, 1, "each use of an alias counts"),
    ("a: &a [*a]", None, 1, "contains itself"),
    ("a: &a {b: *a}", None, 1, "contains itself"),
    ("a: *b", None, 1, "undefined alias|names no anchor"),
    ("[" * 100_000, None, 1, "deeper than 64"),
    ("- " * 1000 + "a", None, 1, "deeper than 64"),
    ("".join(f"{' ' * depth}a:\n" for depth in range(100)), None, 64, "deeper than 64"),
    ("a: " + "9" * 5000, "a", 1, "too large"),
    ("a: 1" + ":59" * 50_000, "a", 1, "too large"),
    ("a: 9223372036854775808", "a", 1, "too large"),
    ("x: 1\na: .inf", "a", 2, "too large"),
    ("a: .nan", "a", 1, "too large"),
    ('a: "\\ud800"', None, 1, "not YAML"),
    ('a: "\\0"', "a", 1, "NUL"),
    ("a: !!binary aGk=", "a", 1, "tag"),
    ("a: !!python/object:os.system x", "a", 1, "tag"),
    ("a: !!set {x}", None, 1, "tag"),
    ("a: !own {x: 1}", None, 1, "tag"),
    ("a: !!int x", "a", 1, "'x' is no int"),
    ("? [a]\n: b", None, 1, "a key is a list"),
    ("a: b: c", None, 1, "not YAML"),
    ("a: [", None, 1, "not YAML"),
    ("a: 1\n---\nb: 2", None, 2, "second document"),
    ("[" + "a," * 200_001 + "a]", None, 1, "more than 200000 values"),
    ("<<: 1", None, 1, "<< takes a mapping"),
]


@pytest.mark.parametrize(("text", "field", "line", "told"), REFUSED, ids=range(len(REFUSED)))
def test_what_nobody_means_is_refused_with_its_line(text, field, line, told):
    with pytest.raises(BadDocument, match=told) as refusal:
        load(text)

    assert (refusal.value.field, refusal.value.line) == (field, line)


def test_a_text_without_end_is_not_read():
    with pytest.raises(BadDocument, match="longer than 10 characters"):
        load("a: " + "x" * 100, most_bytes=10)
