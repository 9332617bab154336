"""The online server: right answers on its own cards, and every way in which it ends."""

import json
import signal
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
from eventually import eventually
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing

from emulator.cards.events import audit
from tests.emulator.desk import events_of, said, status_of

CHAT, COMPLETION = "/v1/chat/completions", "/v1/completions"
WHO = "<think>\nThe user wants to know who I am. I am a very small test model.\n</think>\n\nI am a tiny test model. "


def golden(desk):
    lines = desk.places["golden"].read_text("utf-8").split("\n")
    return {row["question"]: row["answer"] for row in map(json.loads, filter(None, lines))}


def test_every_golden_question_is_answered_exactly_streamed_or_not(desk, serving):
    server, expected = serving(cn="0..7").ready(), golden(desk)

    with ThreadPoolExecutor(4) as pool:
        whole = list(pool.map(lambda ask: server.call(CHAT, server.chat(ask))[1], expected))
        streams = list(pool.map(lambda ask: events_of(server.send(CHAT, server.chat(ask, stream=True))), expected))

    assert [reply["choices"][0]["message"]["content"] for reply in whole] == list(expected.values())
    assert [said(events) for events in streams] == list(expected.values())
    assert {events[-1] for events in streams} == {"[DONE]"}
    assert {events[-2]["choices"][0]["finish_reason"] for events in streams} == {"stop"}


def test_it_holds_its_cards_from_before_it_is_ready_to_its_end(desk, serving):
    server = serving(cn="0..7").ready()
    busy = desk.offline(cn="4..7")
    other = desk.offline(cn="8..11", pp=desk.ask("Who are you?"))

    code = server.ended()

    after = desk.offline(cn="4..7", pp=desk.ask("Who are you?"))
    assert (busy.returncode, other.returncode, code, after.returncode) == (1, 0, 0, 0)
    assert f"held by pid {server.process.pid}" in busy.stderr
    assert [event["cards"] for event in desk.events("violation")] == [[4]]
    assert desk.events("unclean") == []


def test_health_and_models_are_shown(desk, serving):
    server = serving(max_model_len=4096).ready()

    health, models = server.call("/health"), server.call("/v1/models")

    assert health == (200, None)
    assert models[0] == 200
    assert [(model["id"], model["max_model_len"]) for model in models[1]["data"]] == [(server.model, 4096)]


def test_the_usage_ends_a_stream_that_asks_for_it(serving):
    server = serving().ready()
    body = server.chat("Who are you?", stream=True, stream_options={"include_usage": True}, max_tokens=5)

    events = events_of(server.send(CHAT, body))

    assert events[-3]["choices"][0]["finish_reason"] == "length"
    assert events[-2]["choices"] == []
    assert events[-2]["usage"]["completion_tokens"] == 5


def test_a_stop_text_ends_the_answer_and_is_not_part_of_it(serving):
    server = serving().ready()

    _, reply = server.call(CHAT, server.chat("Who are you?", stop=["never said", "test model. I"]))

    assert reply["choices"][0]["message"]["content"] == WHO.removesuffix("test model. ")
    assert reply["choices"][0]["finish_reason"] == "stop"


def test_a_completion_goes_on_from_any_text(serving):
    server = serving().ready()
    worded = "<｜begin▁of▁sentence｜><｜User｜>Who are you?<｜Assistant｜>"

    _, reply = server.call(COMPLETION, {"model": server.model, "prompt": worded, "max_tokens": 200})
    _, short = server.call(COMPLETION, {"model": server.model, "prompt": worded, "ignore_eos": True})

    assert reply["choices"][0]["text"].startswith(WHO)
    assert reply["choices"][0]["finish_reason"] == "stop"
    assert short["usage"]["completion_tokens"] == 16


def test_the_models_own_template_words_a_conversation(desk, serving):
    path = desk.tx81 / "tokenizer_config.json"
    config = json.loads(path.read_text("utf-8"))
    template = "{{ bos_token }}<｜User｜>{{ messages[0].content | trim + '?' }}<｜Assistant｜>"
    path.unlink()
    path.write_text(json.dumps(config | {"chat_template": template}))
    server = serving().ready()

    _, reply = server.call(CHAT, server.chat("  Who are you "))

    assert reply["choices"][0]["message"]["content"].startswith(WHO)


def test_one_request_at_a_time_has_a_group_and_the_others_wait(desk, serving):
    desk.fault(0, "slow 10 after=1")
    server = serving().ready()

    waiting = [server.send(CHAT, server.chat("Who are you?", max_tokens=2)) for _ in range(10)]

    assert [status_of(connection) for connection in waiting] == [200] * 10
    assert audit(desk.places["events"]) == []


def test_more_than_sixty_four_do_not_wait(desk, serving):
    desk.fault(0, "hang after=1")
    server = serving().ready()
    waiting = [server.send(CHAT, server.chat("Who are you?")) for _ in range(65)]

    refused = eventually(lambda: refusal(server, waiting), within=60)

    assert "too many requests are waiting" in refused["message"]


def refusal(server, waiting):
    """The answer to one request more; one that found room to wait joins the waiting."""
    connection = server.send(CHAT, server.chat("Who are you?"))
    connection.sock.settimeout(2)
    try:
        with connection.getresponse() as response:
            return json.loads(response.read())
    except TimeoutError:
        waiting.append(connection)
        return None


def test_a_client_that_hangs_up_frees_its_group(desk, serving):
    desk.fault(0, "slow 50 after=1")
    server = serving().ready()
    gone = [server.send(CHAT, server.chat("Who are you?", max_tokens=8000, ignore_eos=True)) for _ in range(3)]
    eventually(lambda: desk.events("fault"))

    for connection in gone:
        connection.close()
    status, _ = server.call(CHAT, server.chat("Who are you?", max_tokens=2))

    assert status == 200


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_running_streams_whole_and_refuses_who_waits(desk, serving, number):
    desk.fault(0, "slow 30 after=1")
    server = serving().ready()
    running = server.send(CHAT, server.chat("Who are you?", stream=True, max_tokens=4000, ignore_eos=True))
    eventually(lambda: desk.events("fault"))
    waiting = server.send(CHAT, server.chat("Who are you?"))
    eventually(lambda: server.shown().count("Received request") == 2)

    code = server.ended(number)

    events = events_of(running)
    assert code == 0
    assert events[-1] == "[DONE]"
    assert events[-2]["choices"][0]["finish_reason"] == "abort"
    assert status_of(waiting) == 503
    assert [event["event"] for event in desk.events()][-1] == "close"


def test_a_port_in_use_is_said_before_a_card_is_touched(desk, serving):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        server = serving(port=port)

        assert server.process.wait(30) == 1
    assert f"port {port} of 127.0.0.1 is in use" in server.shown()
    assert desk.events() == []


def test_it_refuses_busy_cards_as_an_offline_run_does(desk, serving):
    first = serving(cn="0..7").ready()

    second = serving(cn="4..11")

    assert second.process.wait(30) == 1
    assert f"Device or resource busy (held by pid {first.process.pid})" in second.shown()


def test_a_device_error_is_told_to_the_client_and_ends_the_server(desk, serving):
    desk.fault(0, "error after=4")
    server = serving().ready()

    events = events_of(server.send(CHAT, server.chat("Who are you?", stream=True)))

    assert "TXDA error" in events[-1]["error"]["message"]
    assert server.process.wait(30) == 1
    assert "RuntimeError: TXDA error: (txStreamSynchronize(stream)) = device 0" in server.shown()


def test_a_crash_takes_the_server_with_it(desk, serving):
    desk.fault(6, "crash after=1")
    server = serving(cn="4..7").ready()

    server.send(CHAT, server.chat("Who are you?"))

    assert server.process.wait(30) == -signal.SIGSEGV


def test_a_corrupt_card_answers_wrong_and_serves_on(desk, serving):
    desk.fault(2, "corrupt")
    server = serving().ready()

    status, reply = server.call(CHAT, server.chat("Who are you?"))

    assert status == 200
    assert not reply["choices"][0]["message"]["content"].startswith(WHO)
    assert server.call("/health")[0] == 200


def test_a_hung_group_lets_the_others_serve_and_keeps_the_server_until_sigterm(desk, serving):
    desk.fault(3, "hang after=1 times=1")
    server = serving(cn="0..7").ready()
    server.send(CHAT, server.chat("Who are you?"))
    eventually(lambda: desk.events("fault"))

    status, _ = server.call(CHAT, server.chat("Who are you?"))
    server.process.send_signal(signal.SIGINT)
    eventually(lambda: "txStreamSynchronize" in server.shown())
    still_there = server.process.poll() is None

    assert (status, still_there) == (200, True)
    assert server.ended(signal.SIGTERM) == -signal.SIGTERM


def test_a_dead_card_keeps_the_server_from_starting(desk, serving):
    desk.fault(5, "dead")

    server = serving(cn="4..7")

    assert server.process.wait(30) == 1
    assert "HPGR: device error" in server.shown()


@pytest.mark.parametrize("absent", [None, []], ids=repr)
@pytest.mark.parametrize(
    "field", ["temperature", "n", "user", "stop", "max_tokens", "stream_options", "tools", "logit_bias"]
)
def test_what_a_client_leaves_out_it_may_also_send_empty(shared_server, field, absent):
    status, reply = shared_server.call(CHAT, shared_server.chat("Who are you?", **{"max_tokens": 1} | {field: absent}))

    assert status == 200
    assert reply["choices"][0]["message"]["content"]


def test_a_completion_begins_as_the_tokenizer_begins_a_text(desk, serving):
    file = desk.tx81 / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(file))
    mark = "<｜begin▁of▁sentence｜>"
    tokenizer.post_processor = TemplateProcessing(
        single=f"{mark} $A", special_tokens=[(mark, tokenizer.token_to_id(mark))]
    )
    tokenizer.save(str(file))
    server = serving().ready()

    _, reply = server.call(COMPLETION, {"model": server.model, "prompt": "Who", "max_tokens": 1})

    assert reply["usage"]["prompt_tokens"] == len(tokenizer.encode("Who").ids)
    assert tokenizer.encode("Who").ids[0] == tokenizer.token_to_id(mark)


@pytest.mark.parametrize(
    ("change", "status", "reason"),
    [
        ({"model": "another"}, 404, "does not exist"),
        ({"model": None}, 400, "model must be"),
        ({"messages": []}, 400, "at least one message"),
        ({"messages": [{"role": "user", "content": 5}]}, 400, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, 400, "UTF-8"),
        ({"messages": [{"role": "user", "content": "long " * 9000}]}, 400, "maximum context length is 8192"),
        ({"max_tokens": 8192}, 400, "maximum context length is 8192"),
        ({"max_tokens": 0}, 400, "max_tokens must be"),
        ({"max_tokens": True}, 400, "max_tokens must be"),
        ({"stop": [""]}, 400, "stop must be"),
        ({"stream": "yes"}, 400, "stream must be"),
        ({"stream_options": {"include_usage": True}}, 400, "for a stream only"),
        ({"n": 2}, 400, "n cannot be 2"),
        ({"temperature": 3}, 400, "temperature cannot be 3"),
        ({"guided_json": {}}, 400, "guided_json is not supported"),
    ],
)
def test_a_request_that_cannot_be_answered_is_refused_by_its_field(shared_server, change, status, reason):
    found, reply = shared_server.call(CHAT, shared_server.chat("Who are you?") | change)

    assert found == status
    assert reason in reply["message"]
    assert reply["object"] == "error"


@pytest.mark.parametrize(
    ("path", "body", "method", "status"),
    [
        (CHAT, b"{", "POST", 400),
        (CHAT, b"\xff\xfe", "POST", 400),
        (CHAT, b"[" * 100_000, "POST", 400),
        (CHAT, b"[]", "POST", 400),
        (COMPLETION, {"model": "x", "prompt": ""}, "POST", 400),
        (COMPLETION, {"model": "x", "prompt": ["a", "b"]}, "POST", 400),
        ("/v1/embeddings", {}, "POST", 404),
        ("/../../etc/passwd", None, "GET", 404),
        (CHAT, None, "GET", 405),
        ("/health", {}, "POST", 405),
    ],
)
def test_what_is_no_request_is_refused(shared_server, path, body, method, status):
    found, reply = shared_server.call(path, body, method=method)

    assert found == status
    assert reply["code"] == status


def test_a_token_that_is_none_does_not_reach_the_card(shared_server):
    status, reply = shared_server.call(COMPLETION, {"model": shared_server.model, "prompt": [1, 5000]})

    assert status == 400
    assert "5000 is no token" in reply["message"]
    assert shared_server.call("/health")[0] == 200


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ({"device": "cuda"}, "invalid choice"),
        ({"load_format": "safetensors"}, "invalid choice"),
        ({"ts": 8}, "compiled for 4"),
        ({"cn": "2..31"}, "not whole card groups"),
        ({"port": 70000}, "not a number from 0 to 65535"),
        ({"model_dtype": "int8"}, "compiled for bfloat16"),
        ({"max_model_len": None}, "required"),
        ({"model": "/nowhere"}, "--model /nowhere: no such folder"),
    ],
)
def test_the_server_refuses_a_wrong_call(desk, serving, flags, reason):
    server = serving(**flags)

    assert server.process.wait(30) == 2
    assert reason in server.shown()
    assert desk.events() == []


def test_the_cache_bounds_a_conversation_too(serving):
    server = serving(num_gpu_blocks_override=4, block_size=16).ready()

    status, reply = server.call(CHAT, server.chat("Who are you?", max_tokens=64))

    assert status == 400
    assert "maximum context length is 64 tokens" in reply["message"]


def test_a_model_without_a_template_is_not_chatted_with(desk, serving):
    (desk.tx81 / "tokenizer_config.json").unlink()
    server = serving().ready()

    status, reply = server.call(CHAT, server.chat("Who are you?"))

    assert status == 400
    assert "no chat template" in reply["message"]


def test_each_group_has_its_log_in_the_working_folder(desk, serving):
    server = serving(cn="0..7").ready()

    server.call(CHAT, server.chat("你是谁？"))

    logs = sorted(desk.work.glob("TX8_online_batchsize_2_quest_*_bid_*_*.log"))
    assert len(logs) == 2
    assert "question: 你是谁？" in logs[0].read_text("utf-8")
