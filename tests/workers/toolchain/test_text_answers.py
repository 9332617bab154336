"""Answers that a tool wrote for people, read by the profile's patterns."""

import pytest
from pydantic import TypeAdapter, ValidationError

from orchestrator.model.answer_rules import AnswersRule, JsonAnswers, TextAnswers
from orchestrator.results.answers import GivenAnswer
from workers.toolchain.answers import read_answers
from workers.toolchain.rows import MOST_RECORD_BYTES, BadAnswers, rows_by

RULE = TextAnswers(
    format="regex",
    glob="*.txt",
    starts=r"^Question( \d+)?: ",
    pattern=r"(?s)^Question: (?P<question>.*?)\nAnswer: (?P<text>.*?)(\n\((?P<output_tokens>\d+) tokens\))?$(?!\n)",
)
NUMBERED = RULE.model_copy(
    update={
        "counts_from": 1,
        "pattern": r"(?s)^Question (?P<index>\d+): (?P<question>.*?)\nAnswer: (?P<text>.*)",
    }
)


def written(folder, text, name="answers.txt"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_record_may_span_lines_and_what_stands_before_the_first_is_none(tmp_path):
    first = "Question: 法国的首都？\r\nAnswer: 巴黎。\r\n\r\n是的。\r\n(7 tokens)\r\n\r\n"
    text = f"\ufeff== run ==\n{first}Question: b\nAnswer: two\n"

    answers = read_answers([written(tmp_path, text)], RULE, prompts=2)

    assert answers == [
        GivenAnswer(1, 0, "法国的首都？", "巴黎。\n\n是的。", output_tokens=7),
        GivenAnswer(1, 1, "b", "two"),
    ]


def test_answers_without_a_number_are_counted_and_after_the_last_prompt_comes_the_next_repeat(tmp_path):
    text = "".join(f"Question: q{number % 2}\nAnswer: a{number}\n" for number in range(4))

    answers = read_answers([written(tmp_path, text)], RULE, prompts=2)

    assert [(each.repeat, each.index, each.text) for each in answers] == [
        (1, 0, "a0"), (1, 1, "a1"), (2, 0, "a2"), (2, 1, "a3"),
    ]  # fmt: skip


def test_a_tool_may_count_its_questions_from_one_and_answer_them_in_any_order(tmp_path):
    text = "Question 2: b\nAnswer: two\nQuestion 1: a\nAnswer: one\nQuestion 1: a\nAnswer: again\n"

    answers = read_answers([written(tmp_path, text)], NUMBERED, prompts=2)

    assert [(each.repeat, each.index, each.text) for each in answers] == [(1, 1, "two"), (1, 0, "one"), (2, 0, "again")]
    with pytest.raises(BadAnswers, match="has no usable 'index'"):
        read_answers([written(tmp_path, "Question 0: a\nAnswer: b")], NUMBERED)


def test_the_name_of_a_file_tells_which_run_its_answers_are_of(tmp_path):
    rule = RULE.model_copy(update={"file_name": r"bs(?P<batch_size>\d)_b(?P<batch>\d)"})
    files = [written(tmp_path, "Question: q\nAnswer: a", name=f"bs{size}_b0.txt") for size in (1, 5)]

    answers = read_answers(files, rule)

    assert [(each.batch_size, each.lane) for each in answers] == [(1, 0), (5, 0)]


def test_bytes_that_are_not_utf_8_and_nul_are_replaced(tmp_path):
    answers = read_answers([written(tmp_path, b"Question: q\nAnswer: a\xff\x00b")], RULE)

    assert answers[0].text == "a\ufffd\ufffdb"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("nothing of the kind\n", "answers.txt: no line matches the profile's `starts`"),
        ("", "no line matches"),
        ("Question: q\nAnswer: a\nQuestion: r\nno answer\n", "answers.txt: the record at line 3 does not match"),
        ("Question: q\nAnswer: " + "a" * MOST_RECORD_BYTES, f"line 2 is longer than {MOST_RECORD_BYTES} bytes"),
        ("Question: q\nAnswer: " + ("a" * 99 + "\n") * 43_000, "the record at line 1 is longer than"),
    ],
    ids=["no record", "empty", "no match", "long line", "long record"],
)
def test_what_the_patterns_do_not_fit_is_told_with_its_place(tmp_path, text, told):
    with pytest.raises(BadAnswers, match=told):
        read_answers([written(tmp_path, text)], RULE)


def test_a_pattern_that_tries_for_ever_is_ended(tmp_path):
    rule = RULE.model_copy(update={"pattern": r"^Question: (?P<question>(a+)+)\n(?P<text>b)"})
    path = written(tmp_path, f"Question: {'a' * 40}!\nb")

    with pytest.raises(BadAnswers, match="took more than 1 s: simplify it"):
        list(rows_by(rule, [path], seconds=1))


def test_a_json_line_that_is_longer_than_any_answer_is_told(tmp_path):
    rule = JsonAnswers(glob="*", question="q", text="a", repeat="r", index="i")

    with pytest.raises(BadAnswers, match=r"line 1 of answers\.txt is longer than"):
        read_answers([written(tmp_path, b"{" * (MOST_RECORD_BYTES + 1))], rule)


def test_a_rule_without_a_format_is_json_lines_as_in_older_profiles():
    rules = TypeAdapter(AnswersRule)

    read = rules.validate_python({"glob": "*", "question": "q", "text": "a", "repeat": "r", "index": "i"})

    assert isinstance(read, JsonAnswers)
    assert isinstance(rules.validate_python(RULE.model_dump()), TextAnswers)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"pattern": "(?P<question>q)"}, "lacks text"),
        ({"pattern": "(?P<question>q)(?P<text>t)(?P<speed>s)"}, "unknown group speed; known are batch, batch_size"),
        ({"pattern": "(?P<question>q"}, "not a regular expression"),
        ({"starts": "["}, "not a regular expression"),
        ({"format": "xml"}, "xml"),
    ],
)
def test_patterns_that_could_never_give_an_answer_are_refused_with_the_profile(change, told):
    with pytest.raises(ValidationError, match=told):
        TypeAdapter(AnswersRule).validate_python({**RULE.model_dump(), **change})
