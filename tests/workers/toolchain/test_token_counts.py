"""Tokens are counted by the model's own tokenizer where the tool does not report them."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from orchestrator.results.answers import GivenAnswer
from orchestrator.results.metrics import measure
from workers.toolchain.token_counts import COUNTER, counted

ANSWERS = [GivenAnswer(0, 0, "q", "a b c"), GivenAnswer(0, 1, "q", "a unknown"), GivenAnswer(0, 2, "q", "")]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    tokenizer = Tokenizer(WordLevel({"a": 0, "b": 1, "c": 2, "?": 3}, unk_token="?"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.enable_truncation(2)  # as a file for training may say; it must not shorten the count
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def test_every_answer_is_counted_whole_and_the_metric_names_the_counter(model):
    answers, counter = counted(ANSWERS, model)
    numbers = {number.name: number for number in measure(answers, [None] * 3, 2.0, counter)}

    assert [answer.output_tokens for answer in answers] == [3, 2, 0]
    assert (numbers["output_tokens"].value, numbers["output_tokens"].counter) == (5, COUNTER)
    assert (numbers["output_throughput"].value, numbers["output_throughput"].counter) == (2.5, COUNTER)


def test_what_the_tool_reported_is_never_replaced(model):
    told = [GivenAnswer(0, 0, "q", "a b c", output_tokens=7), GivenAnswer(0, 1, "q", "a")]

    assert counted(told, model) == (told, None)


@pytest.mark.parametrize("content", [None, "{", "[1]", '{"model": {"type": "WordLevel"}}'])
def test_without_a_usable_tokenizer_nothing_is_counted_and_nothing_fails(tmp_path, content):
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)

    assert counted(ANSWERS, tmp_path) == (ANSWERS, None)


def test_without_a_model_nothing_is_counted():
    assert counted(ANSWERS, None) == (ANSWERS, None)
