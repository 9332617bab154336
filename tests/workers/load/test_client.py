"""The load client as a program, against servers that say what a test tells them to."""

import json
import socket
import threading
from collections import Counter
from itertools import pairwise

import pytest
from openai_stub import DONE, MODEL, answer, openai_stub, piece, thought

from workers.load.__main__ import main
from workers.load.arrivals import asks, poisson
from workers.load.book import BadMetrics, read_metrics


@pytest.fixture
def load(tmp_path):
    """Make a load; its exit code."""

    def run(url, *prompts, repeats=1, **shape):
        (tmp_path / "prompts").write_text("\n".join(prompts), "utf-8")
        return main(
            [
                "--url", url, "--model", MODEL, "--prompts", str(tmp_path / "prompts"), "--out", str(tmp_path / "out"),
                "--max-tokens", "7", "--repeats", str(repeats), "--load", json.dumps(shape),
            ]
        )  # fmt: skip

    return run


@pytest.fixture
def rows(tmp_path):
    def read(name):
        return [json.loads(line) for line in (tmp_path / "out" / name).read_text("utf-8").split("\n") if line]

    return read


@pytest.fixture
def numbers(tmp_path):
    return lambda: {number.name: number for number in read_metrics(tmp_path / "out")}


def echo(body):
    return answer("答：", body["messages"][0]["content"])


# ── what is asked, and when ──────────────────────────────────────────────────────────────────────────────────────────


def test_prompts_are_asked_in_their_order_round_after_round():
    assert [(ask.number, ask.index, ask.repeat) for ask in asks(2, 5)] == [
        (0, 0, 1), (1, 1, 1), (2, 0, 2), (3, 1, 2), (4, 0, 3),
    ]  # fmt: skip


def test_a_seed_shuffles_each_round_the_same_way_again_and_uses_every_prompt():
    first, again, other = (list(asks(10, 25, seed=seed)) for seed in (1, 1, 2))

    assert first == again != other
    assert {ask.index for ask in first[:10]} == {ask.index for ask in first[10:20]} == set(range(10))
    assert len({(ask.index, ask.repeat) for ask in first}) == 25


def test_arrivals_come_at_the_rate_and_are_the_same_for_the_same_seed():
    def due(seed):
        times = poisson(50.0, seed=seed)
        return [next(times) for _ in range(20_000)]

    times = due(7)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    mean = sum(gaps) / len(gaps)
    spread = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5

    assert times == due(7) != due(8)
    assert times[0] == 0
    # Of an exponential distribution the spread equals the mean; a steady beat would have none.
    assert mean == pytest.approx(1 / 50, rel=0.03)
    assert spread == pytest.approx(mean, rel=0.05)


# ── the two loops ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_closed_loop_keeps_so_many_requests_under_way(load, numbers):
    together = threading.Barrier(4, timeout=30)

    def say(body):
        together.wait()
        return echo(body)

    with openai_stub(say) as server:
        code = load(server.url, "a", "b", concurrency=4, requests=8)

    assert code == 0
    assert numbers()["concurrency_max"].value == 4
    assert numbers()["requests"].value == 8


def test_an_open_loop_sends_without_waiting_for_answers(load, numbers):
    everyone = threading.Barrier(20, timeout=30)

    def say(body):
        everyone.wait()
        return echo(body)

    with openai_stub(say) as server:
        code = load(server.url, "a", rate=200, requests=20, seed=3)

    assert code == 0
    assert numbers()["concurrency_max"].value == 20
    assert numbers()["request_seconds_p50"].definition == "request_seconds/due_to_last"
    assert numbers()["late_seconds_max"].count == 20


def test_warm_up_is_asked_first_and_not_measured(load, rows, numbers):
    with openai_stub(echo) as server:
        load(server.url, "a", "b", repeats=2, warmup=1)

    assert server.prompts() == ["a", "a", "b", "a", "b"]
    assert numbers()["requests"].value == len(rows("answers.jsonl")) == 4


# ── what is asked of the server, and heard ───────────────────────────────────────────────────────────────────────────


def test_a_chat_asks_for_a_stream_with_its_usage_and_is_kept_to_the_letter(load, rows):
    with openai_stub(lambda body: answer("第\u2028一", "行\n", "二")) as server:
        load(server.url, "你好？")

    assert server.paths == ["/v1/chat/completions"]
    assert server.asked[0] == {
        "messages": [{"role": "user", "content": "你好？"}], "model": MODEL, "max_tokens": 7, "temperature": 0,
        "stream": True, "stream_options": {"include_usage": True},
    }  # fmt: skip
    (row,) = rows("answers.jsonl")
    assert (row["question"], row["response"], row["finish_reason"]) == ("你好？", "第\u2028一行\n二", "stop")
    assert (row["prompt_tokens"], row["output_tokens"]) == (3, 3)
    assert 0 < row["ttft_seconds"] <= row["seconds"]
    assert len(rows("times.jsonl")[0]["gaps"]) == 2


def test_a_completion_goes_on_from_the_bare_prompt(load, rows):
    def say(body):
        text = {"index": 0, "text": f"{body['prompt']}!", "finish_reason": "length"}
        return [f"data: {json.dumps({'choices': [text]})}\n\n".encode(), DONE]

    with openai_stub(say) as server:
        load(server.url, "go", interface="completion", ignore_eos=True)

    assert server.paths == ["/v1/completions"]
    assert server.asked[0]["ignore_eos"] is True
    assert rows("answers.jsonl")[0]["response"] == "go!"


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_the_first_text_of_a_thinking_model_is_its_first_thought(load, rows, name):
    said = [thought("嗯", name=name), thought("…", name=name), *answer("四")]

    with openai_stub(lambda body: said) as server:
        assert load(server.url, "2+2?", concurrency=1) == 0

    (row,), (times,) = rows("answers.jsonl"), rows("times.jsonl")
    assert (row["response"], row["reasoning"]) == ("四", "嗯…")
    # Three pieces of text, so two gaps, and the first of the three is what was waited for.
    assert len(times["gaps"]) == 2
    assert times["first"] + sum(times["gaps"]) <= times["last"] + 1e-3


def test_a_model_that_only_thinks_has_answered(load, rows, numbers):
    with openai_stub(lambda body: [thought("嗯"), *answer(reason="length")]) as server:
        assert load(server.url, "2+2?", concurrency=1) == 0

    (row,) = rows("answers.jsonl")
    assert (row["response"], row["reasoning"], row["finish_reason"]) == ("", "嗯", "length")
    assert numbers()["failed_requests"].value == 0


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_a_stream_may_end_its_lines_in_any_way(load, rows, end):
    with openai_stub(lambda body: [said.replace(b"\n", end) for said in answer("答", "：\u2028好")]) as server:
        assert load(server.url, "?", concurrency=1) == 0

    assert [row["response"] for row in rows("answers.jsonl")] == ["答：\u2028好"]


def test_numbers_of_tokens_are_left_out_where_the_server_does_not_count_them(load, numbers):
    with openai_stub(lambda body: [piece("a"), piece("b", "stop"), DONE]) as server:
        load(server.url, "x", goodput={"tpot_seconds": 1})

    assert not {"output_tokens", "output_throughput", "tpot_seconds_p50", "goodput"} & numbers().keys()
    assert numbers()["itl_seconds_mean"].count == 1


# ── when it does not go well ─────────────────────────────────────────────────────────────────────────────────────────

FAILURES = {
    "busy": ((503, "too many requests are waiting"), "http_503"),
    "card": ([piece("a"), b'data: {"error": {"message": "card 3 is gone"}}\n\n'], "server_error"),
    "stopped": ([piece("a"), piece("", "abort"), DONE], "cut_short"),
    "broken": ([piece("a")], "cut_short"),
    "empty": (answer(), "empty"),
    "strange": ([b"data: {not json\n\n"], "not_openai"),
}


def test_requests_that_fail_are_counted_by_sort_and_are_in_no_other_number(load, rows, numbers, capsys):
    with openai_stub(lambda body: FAILURES.get(body["messages"][0]["content"], (echo(body),))[0]) as server:
        code = load(server.url, "good", *FAILURES)

    assert code == 0
    assert (numbers()["requests"].value, numbers()["failed_requests"].value) == (1, 6)
    assert numbers()["ttft_seconds_max"].count == len(rows("answers.jsonl")) == 1
    told = Counter(row["failed"] for row in rows("times.jsonl") if "failed" in row)
    assert told == Counter(sort for _, sort in FAILURES.values())
    assert "number 2 failed: http_503: HTTP 503: too many requests are waiting" in capsys.readouterr().out


def test_a_load_of_which_nothing_was_answered_has_failed(load, capsys):
    with openai_stub(lambda body: (400, "max_tokens is too large")) as server:
        code = load(server.url, "a", "b")

    assert code == 1
    assert capsys.readouterr().err == "none of 2 requests was answered: 2 × http_400\n"


@pytest.mark.parametrize("shape", [{"concurrency": 3}, {"rate": 100}])
def test_a_server_that_is_gone_ends_the_load_in_one_sentence(load, capsys, shape):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"

        code = load(url, "a", requests=50, **shape)

    assert code == 1
    assert capsys.readouterr().err == f"no server at {url}: connection refused, after 0 of 50 requests\n"


@pytest.mark.parametrize("many", [1, 2000])
def test_a_full_disk_ends_the_load_in_one_sentence(load, capsys, tmp_path, many):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/times.jsonl").symlink_to("/dev/full")
    with openai_stub(lambda body: answer(*["long"] * many)) as server:
        code = load(server.url, "a", concurrency=2, requests=2)

    assert code == 1
    assert capsys.readouterr().err == f"{tmp_path}/out: No space left on device\n"


def test_a_file_without_questions_is_told(load, capsys):
    assert load("http://127.0.0.1:1", " ", "") == 1
    assert "has no questions" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "is not what the load client writes"),
        ('{"metrics": [{"name": "x"}]}', "is not what the load client writes"),
        (
            '{"metrics": [{"name": "x", "value": 1, "unit": "s", "definition": "x/y", "count": 1}]}',
            "without a definition: x/y",
        ),
    ],
)
def test_numbers_that_are_not_ours_are_refused(tmp_path, text, told):
    (tmp_path / "metrics.json").write_text(text)

    with pytest.raises(BadMetrics, match=told):
        read_metrics(tmp_path)
