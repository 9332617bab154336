"""A rule that was learned reads the files that it was learned from, with the reader of the workers."""

import json
import re

import pytest

from orchestrator.results.learned_rules import LeftFile, learned
from workers.toolchain.answers import read_answers

PROMPTS = ["你是谁？", "What is 2+2?", "Name (one) [colour]."]
ANSWERS = ["我是一个模型。\n\n我会回答问题。", "4", "Blue: like the sky."]


def lines(*rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def rows(**more):
    return [
        {"id": number, "prompt": prompt, "response": answer, **more}
        for number, (prompt, answer) in enumerate(zip(PROMPTS, ANSWERS, strict=True))
    ]


def records(record, *, head="", between=""):
    pairs = enumerate(zip(PROMPTS, ANSWERS, strict=True), 1)
    return head + between.join(record.format(n=n, q=question, a=answer) for n, (question, answer) in pairs)


WRITTEN = {
    "json lines": lines(*rows()),
    "json lines from 1, with rounds": lines(*({**row, "id": row["id"] + 1, "round": 1, "time": 0.5} for row in rows())),
    "json lines of one repeat after the other": lines(*rows(), *rows()),
    "json list": json.dumps(rows(tokens=3), ensure_ascii=False, indent=2),
    "labels": records("Question: {q}\nAnswer: {a}\n", head="model: qwen\n"),
    "numbers and rules": records("[{n}/3] Q: {q}\nResponse {n}:\n{a}\n", between="------\n"),
    "chinese": records("问题{n}：{q}\n回答：{a}\n\n"),
    "answer without a label": records("### prompt {n}: {q}\n{a}\n"),
    "a numbered line above": records("=== batch 0 question {n}\nQ: {q}\nA: {a}\n"),
    "windows": records("Question: {q}\nAnswer: {a}\n").replace("\n", "\r\n"),
}


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN.keys())
def test_answers_are_read_by_the_rule_that_was_learned_from_them(tmp_path, text):
    found = learned([LeftFile("log.txt", "loading\n"), LeftFile("responses.out", text)], PROMPTS)

    file = tmp_path / "responses.out"
    file.write_bytes(text.encode())
    given = read_answers([file], found.rule, prompts=len(PROMPTS))
    assert len(given) == found.answers
    assert {(each.index, each.question, each.text.strip()) for each in given} == {
        (number, question, answer) for number, (question, answer) in enumerate(zip(PROMPTS, ANSWERS, strict=True))
    }
    assert file.match(found.rule.glob)
    assert found.files == ("responses.out",)


def test_what_all_answers_begin_with_is_no_label():
    text = "".join(f"Question: {prompt}\n<think>\nSo: {prompt}\n</think>\nyes\n" for prompt in PROMPTS)

    rule = learned([LeftFile("a.txt", text)], PROMPTS).rule

    assert re.search(rule.pattern, text.partition("\nQuestion")[0])["text"].startswith("<think>\nSo: ")


def test_known_columns_are_found_by_their_names():
    (row, *_) = rows(round=1, finish_reason="stop", output_tokens=4, latency=0.5)

    rule = learned([LeftFile("a.jsonl", lines(row))], PROMPTS[:1]).rule

    assert (rule.index, rule.repeat, rule.finish_reason) == ("id", "round", "finish_reason")
    assert (rule.output_tokens, rule.seconds, rule.text) == ("output_tokens", "latency", "response")


def test_one_file_for_each_batch_size_is_one_rule_that_reads_the_size_in_the_name():
    files = [LeftFile(f"r_batchsize_{size}_q.log", WRITTEN["labels"]) for size in (1, 5)]

    found = learned([*files, LeftFile("trace.log", "loading\n")], PROMPTS)

    assert found.files == tuple(file.path for file in files)
    assert (found.rule.glob, found.answers) == ("r_batchsize_*_q.log", 6)
    assert "(?P<batch_size>" in found.rule.file_name


@pytest.mark.parametrize(
    "text",
    ["", "loading\n", lines(*rows()[:2]), records("{q}\n{a}\n"), "[1, 2]", '{"a": 1}', "[" * 100_000],
    ids=["empty", "a log", "a prompt too few", "no label", "numbers", "an object", "deep"],
)
def test_a_file_without_an_answer_to_every_prompt_is_understood_by_no_reader(text):
    assert learned([LeftFile("a", text)], PROMPTS) is None
