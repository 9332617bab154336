"""Reference answers as people and tools write them."""

import json

import pytest

from orchestrator.errors import BadSpec
from orchestrator.results.goldens import document, paired

PROMPTS = ["法国的首都？", "two", "three"]


def rows(*pairs):
    return "\n".join(json.dumps({"question": question, "answer": answer}) for question, answer in pairs)


def test_pairs_are_brought_into_the_order_of_the_prompts():
    text = rows(("three", "3"), (" 法国的首都？ ", "巴黎"), ("two", ""))

    assert paired(f"\n{text}\n\n", PROMPTS, "auto", field="path") == [
        ("法国的首都？", "巴黎"),
        ("two", ""),
        ("three", "3"),
    ]


def test_a_prompt_that_is_asked_twice_may_have_two_answers():
    assert paired(rows(("q", "1"), ("q", "2")), ["q", "q"], "auto", field="path") == [("q", "1"), ("q", "2")]


def test_plain_lines_are_answers_in_the_order_of_the_prompts():
    assert [answer for _, answer in paired(" 巴黎\r\n{2}\n3\n\n", PROMPTS, "lines", field="path")] == [
        " 巴黎",
        "{2}",
        "3",
    ]


def test_what_is_stored_holds_one_object_a_line():
    stored = document([("一\n二", "a\u2028b")])

    assert stored.count(b"\n") == 1
    assert json.loads(stored) == {"question": "一\n二", "answer": "a\u2028b"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1\n2\n3\n4", "4 answers, but 3 prompts: line 4 is one too many"),
        ("1\n2", "2 answers, but 3 prompts: after line 2 the answer to 'three' is missing"),
        ("1\n\n3", "line 2 is empty: write one answer a line, or JSON lines"),
        (rows(("two", "2"), ("four", "4"), ("three", "3")), "line 2 answers 'four', which is none of the prompts"),
        (rows(("two", "2"), ("two", "2"), ("three", "3")), "prompt 1 has no answer: '法国的首都？'"),
        (rows(("two", "2")), "1 answers, but 3 prompts: after line 1"),
        ('{"question": "two"}', "line 1 is not"),
        ("{broken", "line 1 is not"),
        (rows(("two", 2)), "line 1 is not"),
    ],
)
def test_the_line_that_is_wrong_is_named(text, told):
    with pytest.raises(BadSpec) as refusal:
        paired(text, PROMPTS, "auto", field="path")

    assert told in refusal.value.detail
    assert refusal.value.field == "path"
