"""JSON that is taken, and JSON that is refused."""

import json

import pytest

from orchestrator.strict_json import BadDocument, loads

PLAIN = [
    {}, [], None, "", 0, -(2**63 - 1), 1.5, {"a": [{"b": "名\U0001f600"}]}, {"{[": '"}],:'}, "\\", ["\n"] * 100,
]  # fmt: skip


@pytest.mark.parametrize("document", PLAIN, ids=range(len(PLAIN)))
def test_what_we_write_ourselves_is_read_back(document):
    assert loads(json.dumps(document)) == document
    assert loads(json.dumps(document, ensure_ascii=False, indent=1).encode()) == document


@pytest.mark.parametrize(
    ("text", "field", "line", "told"),
    [
        ('{"a": 1, "a": 2}', "a", 1, "is given a second time; the first is on line 1"),
        ('{"a":\n1,\n\n"\\u0061": 2}', "a", 4, "the first is on line 1"),
        ('{"x": [1, {"y": {"b": [],\n"b": {}}}]}', "x.1.y.b", 2, "the first is on line 1"),
        ('{"a": "\\"a\\": \\\\", "c": {"a": 1}, "b": [],\n\n"b": 1}', "b", 3, "the first is on line 1"),
        ('{"a": NaN}', None, None, "NaN is not JSON"),
        ("[1e400]", "0", None, "too large"),
        (f'{{"a": [0, -{"9" * 5000}]}}', "a.1", None, "too large"),
        (f'{{"a": {"9" * 5000}, "a": 1}}', None, None, "too large"),
        ('["\\udfff"]', "0", None, "surrogate"),
        ("[" * 65 + "]" * 65, None, None, "deeper than 64"),
        ("[" * 10_000_000, None, None, "more than"),
        ("[" + "[]," * 1_000_000 + "[]]", None, None, "more than 1000000 values"),
    ],
    ids=range(12),
)
def test_what_nobody_means_is_refused_with_its_place(text, field, line, told):
    with pytest.raises(BadDocument, match=told) as refusal:
        loads(text)

    assert (refusal.value.field, refusal.value.line) == (field, line)


BROKEN = ["", "{", '{"a"}', "[1,]", '"open', "nul", '{"a": 1, "b": 2', '"\n"', "\ufeff{}", "]", "[}", ",", ":", "{,}"]


@pytest.mark.parametrize("text", BROKEN, ids=range(len(BROKEN)))
def test_what_is_no_json_is_an_error_of_json(text):
    with pytest.raises(json.JSONDecodeError):
        loads(text)


def test_commas_and_brackets_of_a_text_are_no_values():
    assert loads(json.dumps([",[{" * 10_000]), most_values=10) == [",[{" * 10_000]


QUOTES = '"' + '\\"' * 1_000_000


@pytest.mark.parametrize(
    ("text", "refusal"),
    [("[" * 65 + QUOTES, BadDocument), ("[[]" * 65 + QUOTES, BadDocument), (QUOTES, json.JSONDecodeError)],
    ids=["deep", "deeper", "flat"],
)
def test_each_of_a_million_quotes_that_do_not_end_is_looked_at_once(text, refusal):
    with pytest.raises(refusal):
        loads(text)


def test_a_string_of_a_million_quotes_is_a_string_in_brackets_too():
    assert loads("[" + "[]," * 65 + QUOTES + '"]')[-1] == '"' * 1_000_000


@pytest.mark.parametrize("text", ["]" * 1_000_000 + "[" * 65, "[" * 60 + "]" * 70 + "[" * 65])
def test_brackets_that_close_nothing_are_no_json(text):
    with pytest.raises(json.JSONDecodeError):
        loads(text)
