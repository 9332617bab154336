import json

import pytest

from orchestrator.model.answer_rules import JsonAnswers
from orchestrator.results.answers import GivenAnswer, Golden, digest_of, exact
from orchestrator.results.metrics import DEFINITIONS, measure, percentile
from workers.toolchain.answers import Asked, BadAnswers, count_prompts, problems_with, read_answers, read_golden

RULE = JsonAnswers(
    glob="*", question="q", text="a", repeat="r", index="i", output_tokens="n", seconds="s", finish_reason="f"
)


def lines(path, *rows):
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), "utf-8")
    return path


def test_answers_are_read_with_the_keys_of_the_profile(tmp_path):
    path = lines(tmp_path / "a", {"r": 1, "i": 0, "q": "问", "a": "答\u2028案", "n": 2, "s": 1, "f": "stop"}, "", "  ")

    assert read_answers([path], RULE) == [
        GivenAnswer(1, 0, "问", "答\u2028案", output_tokens=2, seconds=1.0, finish_reason="stop")
    ]


def test_what_sql_cannot_hold_is_replaced(tmp_path):
    path = lines(tmp_path / "a", r'{"r": 1, "i": 0, "q": "a\u0000b", "a": "\ud83d!"}')

    answer = read_answers([path], RULE)[0]

    assert (answer.question, answer.text) == ("a\ufffdb", "?!")


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("{broken", "line 2 of a is not JSON"),
        ("[1]", "line 2 of a is not a JSON object"),
        ({"r": 1, "i": 1, "q": "q"}, "line 2 of a has no usable 'a'"),
        ({"r": 1, "i": -1, "q": "q", "a": "a"}, "no usable 'i'"),
        ({"r": 1, "i": 2**40, "q": "q", "a": "a"}, "no usable 'i'"),
        ({"r": True, "i": 1, "q": "q", "a": "a"}, "no usable 'r'"),
        ({"r": 1, "i": 0, "q": "q", "a": "a"}, "answers question 0 of repeat 1 a second time"),
    ],
)
def test_a_line_that_is_no_answer_is_told(tmp_path, row, told):
    path = lines(tmp_path / "a", {"r": 1, "i": 0, "q": "q", "a": "a"}, row)

    with pytest.raises(BadAnswers, match=told):
        read_answers([path], RULE)


@pytest.mark.parametrize(("row", "batch"), [({}, 0), ({"b": 0}, 0), ({"b": 7}, 7)])
def test_the_batch_is_the_first_where_the_tool_names_none(tmp_path, row, batch):
    rule = RULE.model_copy(update={"batch": "b"})
    path = lines(tmp_path / "a", {"r": 1, "i": 0, "q": "q", "a": "a", **row})

    assert read_answers([path], rule)[0].lane == batch


def test_a_batch_that_is_no_number_is_told_and_so_is_an_answer_given_twice_in_a_batch(tmp_path):
    rule, row = RULE.model_copy(update={"batch": "b"}), {"r": 1, "i": 0, "q": "q", "a": "a"}

    with pytest.raises(BadAnswers, match="line 1 of a has no usable 'b'"):
        read_answers([lines(tmp_path / "a", {**row, "b": "first"})], rule)
    with pytest.raises(BadAnswers, match="line 3 of a answers question 0 of repeat 1 in batch 1 a second time"):
        read_answers([lines(tmp_path / "a", row, {**row, "b": 1}, {**row, "b": 1})], rule)


def test_numbers_that_make_no_sense_are_left_out(tmp_path):
    path = lines(tmp_path / "a", {"r": 1, "i": 0, "q": "q", "a": "a", "n": "many", "s": -1})

    answer = read_answers([path], RULE)[0]

    assert (answer.output_tokens, answer.seconds) == (None, None)


def test_blank_lines_are_no_prompts(tmp_path):
    path = tmp_path / "p"
    path.write_bytes("\ufeff一\n\n  \r\n二\r\n".encode())

    assert count_prompts(path) == 2


def test_missing_answers_are_problems_and_an_empty_one_is_an_answer():
    answers = [GivenAnswer(1, 0, "q", "a"), GivenAnswer(1, 1, "q", " \n")]

    assert problems_with(answers, Asked(2)) == []
    assert problems_with(answers, Asked(2, repeats=2)) == ["2 answers instead of 4 (2 prompts × 2 repeats)"]
    assert problems_with(answers[:1], Asked(1)) == []


@pytest.mark.parametrize(
    ("texts", "most", "told"),
    [
        (["a", "", ""], None, []),
        (["", "", ""], None, ["3 of 3 answers are empty; the first to question 0 of repeat 1"]),
        (["", "", ""], 3, []),
        (["a", "", ""], 1, ["2 of 3 answers are empty, and most_empty allows 1; the first to question 1 of repeat 1"]),
        (["a", "", "b"], 0, ["1 of 3 answers are empty, and most_empty allows 0; the first to question 1 of repeat 1"]),
        (["a", "b", "c"], 0, []),
    ],
)
def test_a_job_says_how_many_answers_may_be_empty_and_by_itself_not_all_of_them(texts, most, told):
    answers = [GivenAnswer(1, index, "q", text) for index, text in enumerate(texts)]

    assert problems_with(answers, Asked(3, most_empty=most)) == told


def test_every_batch_must_have_answered_everything():
    answers = [GivenAnswer(1, index, "q", "a", lane=lane) for lane, index in ((0, 0), (0, 1), (2, 0))]

    assert problems_with(answers, Asked(2, sizes=(3,))) == [
        "0 answers instead of 2 (2 prompts × 1 repeats) in batch 1",
        "1 answers instead of 2 (2 prompts × 1 repeats) in batch 2",
    ]
    assert problems_with(answers, Asked(2, sizes=(2,))) == [
        "answers of batch 2, but only 2 ran (they are counted from 0)"
    ]


def test_golden_answers_may_be_written_by_hand_or_by_an_earlier_run(tmp_path):
    golden = read_golden(lines(tmp_path / "g", {"question": "a", "answer": "1"}, {"question": "b", "response": "2"}))

    assert (golden.answer_to("a", 0), golden.answer_to("b", 1)) == ("1", "2")


def test_golden_answers_without_a_question_are_told(tmp_path):
    with pytest.raises(BadAnswers, match="line 1 of g has no question and answer"):
        read_golden(lines(tmp_path / "g", {"answer": "1"}))


def test_a_golden_answer_is_found_by_place_first_and_then_by_question():
    golden = Golden([("same", "first"), ("same", "second"), ("other", "third")])

    assert golden.answer_to("same", 1) == "second"
    assert golden.answer_to(" other\n", 0) == "third"
    assert golden.answer_to("same", 7) == "first"
    assert golden.answer_to("unknown", 0) is None


def test_exact_means_every_character():
    assert exact("巴黎", "巴黎") is True
    assert exact("巴黎 ", "巴黎") is False
    assert exact("巴黎", None) is None


def given(index, **numbers):
    return GivenAnswer(1, index, "q", "a", **numbers)


def by_name(answers, exact_answers=(), wall=None):
    return {number.name: number for number in measure(answers, exact_answers, wall)}


def test_throughput_is_all_output_tokens_over_the_wall_time_of_the_process():
    numbers = by_name([given(0, output_tokens=30), given(1, output_tokens=10)], wall=8.0)

    assert numbers["output_throughput"].value == 5.0
    assert numbers["output_throughput"].unit == "tokens/s"
    assert numbers["output_throughput"].counter == "tool"


def test_a_sum_over_some_answers_is_never_shown_as_the_whole():
    numbers = by_name([given(0, output_tokens=30, seconds=1.0), given(1)], wall=8.0)

    assert set(numbers) == {"answers"}


def test_a_tail_percentile_needs_enough_answers():
    few = by_name([given(index, seconds=float(index)) for index in range(63)])
    some = by_name([given(index, seconds=float(index)) for index in range(64)])
    many = by_name([given(index, seconds=float(index)) for index in range(662)])

    assert {"request_seconds_p50", "request_seconds_max"} == set(few) - {"answers"}
    assert set(some) - set(few) == {"request_seconds_p90"}
    assert set(many) - set(some) == {"request_seconds_p99"}


def test_time_per_output_token_leaves_the_first_token_out():
    numbers = by_name(
        [given(0, output_tokens=5, seconds=3.0, ttft_seconds=1.0), given(1, output_tokens=1, seconds=1, ttft_seconds=1)]
    )

    assert numbers["tpot_seconds_p50"].value == 0.5
    assert numbers["tpot_seconds_p50"].count == 1


def test_percentiles_are_interpolated():
    assert percentile([4.0, 1.0, 2.0, 3.0], 50) == 2.5
    assert percentile([7.0], 99) == 7.0


def test_exact_answers_count_only_what_could_be_compared():
    number = by_name([given(0), given(1), given(2)], [True, False, None])["exact_answers"]

    assert (number.value, number.count) == (1, 2)


def test_every_number_carries_its_definition():
    answers = [given(0, prompt_tokens=1, output_tokens=2, seconds=1.0, ttft_seconds=0.5)]

    numbers = measure(answers, [True], 1.0)

    assert {number.definition for number in numbers} == {definition for _, definition in DEFINITIONS.values()}


def test_answers_have_one_digest_exactly_if_they_are_the_same_to_the_letter():
    given = [GivenAnswer(1, 0, "问", "答", seconds=1.0), GivenAnswer(1, 1, "q", "a")]
    slower = [GivenAnswer(1, 1, "q", "a"), GivenAnswer(1, 0, "问", "答", seconds=9.0)]
    others = [given[:1], [given[0], GivenAnswer(1, 1, "q", "a ")], [given[0], GivenAnswer(2, 1, "q", "a")]]

    assert digest_of(slower) == digest_of(given)
    assert len({digest_of(answers) for answers in (given, *others)}) == 4


def test_a_tool_that_never_stops_answering_does_not_fill_the_memory(tmp_path):
    rows = ({"r": 1, "i": index, "q": "q", "a": "a"} for index in range(3))

    with pytest.raises(BadAnswers, match="line 3 of a is one more than the 2 requested answers"):
        read_answers([lines(tmp_path / "a", *rows)], RULE, prompts=2, most=Asked(2).answers)
