"""One address for all servers, with the emulated host's servers behind it."""

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
from eventually import eventually

from emulator.installation.install import install
from emulator.tree import Tree
from tests.api.proxy.servers import announce
from tests.emulator.desk import Desk

pytestmark = pytest.mark.slow

CHAT = "/chat/completions"
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Desk:
    """A tree whose model is converted and compiled."""
    home, work = tmp_path_factory.mktemp("built") / "tree", tmp_path_factory.mktemp("desk")
    command = [sys.executable, "-m", "emulator", "install", str(home)]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    desk = Desk(json.loads(shown.splitlines()[-1]), work)
    desk.convert(f"--backend-model-type qwen2_7b_bf16 --input_model {desk.model}")
    desk.compile(desk.node())
    return desk


@pytest.fixture
def desk(built, tmp_path) -> Desk:
    (work := tmp_path / "work").mkdir()
    fresh = Desk(install(Tree(tmp_path / "tree"), with_driver=True), work)
    shutil.copytree(built.node(), fresh.node())
    return fresh


@pytest.fixture
def serving(desk, database):
    """Starts a server of the guide on these cards and announces it; it ends with the test."""
    started = []

    def start(cards: str = "0..3", groups: int = 1):
        server = desk.start_server(cn=cards)
        started.append(server)
        server.ready()
        server.attempt = announce(database, f"http://127.0.0.1:{server.port}", served_id=server.model, groups=groups)
        return server

    yield start
    for server in started:
        server.gone()


@pytest.fixture
def openai(served, settings, token):
    """What a client of OpenAI's interface has: our address and a token."""
    base = f"http://127.0.0.1:{settings.api_port}/v1"
    with httpx2.Client(base_url=base, headers={"Authorization": f"Bearer {token}"}, timeout=60) as client:
        yield client


def chat(question: str = "Who are you?", **fields) -> dict:
    return {"model": "tiny", "messages": [{"role": "user", "content": question}], **fields}


def events_of(answer: httpx2.Response) -> list:
    texts = [line.removeprefix("data: ") for line in answer.iter_lines() if line]
    return [text if text == "[DONE]" else json.loads(text) for text in texts]


def said(events: list) -> str:
    return "".join(choice["delta"].get("content", "") for event in events[:-1] for choice in event["choices"])


def golden(desk) -> dict[str, str]:
    lines = desk.places["golden"].read_text("utf-8").split("\n")
    return {row["question"]: row["answer"] for row in map(json.loads, filter(None, lines))}


def test_a_client_of_openai_gets_the_models_answers_by_the_registered_name(serving, desk, openai):
    serving()
    expected = golden(desk)

    whole = [openai.post(CHAT, json=chat(question)) for question in expected]
    streams = []
    for question in expected:
        with openai.stream("POST", CHAT, json=chat(question, stream=True)) as answer:
            assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
            streams.append(events_of(answer))

    assert [answer.json()["choices"][0]["message"]["content"] for answer in whole] == list(expected.values())
    assert {answer.json()["model"] for answer in whole} == {"tiny"}
    assert [said(events) for events in streams] == list(expected.values())
    assert {events[-1] for events in streams} == {"[DONE]"}
    assert {event["model"] for events in streams for event in events[:-1]} == {"tiny"}


def test_a_text_is_gone_on_from(serving, openai):
    serving()

    answer = openai.post("/completions", json={"model": "tiny", "prompt": "Who are", "max_tokens": 3})

    assert (answer.status_code, answer.json()["usage"]["completion_tokens"]) == (200, 3)


def test_models_are_listed_once_for_all_of_their_servers(serving, openai):
    before = openai.get("/models").json()
    serving("0..3")
    serving("4..7")

    after = eventually(lambda: openai.get("/models").json()["data"])

    assert before == {"object": "list", "data": []}
    assert [(model["id"], model["object"]) for model in after] == [("tiny", "model")]


def test_many_requests_at_once_are_shared_by_all_servers_and_all_are_answered(serving, desk, openai):
    desk.fault(0, "slow 5 after=1")
    desk.fault(4, "slow 5 after=1")
    servers = {str(serving(cards).attempt) for cards in ("0..3", "4..7")}
    attempts_of = {}

    def one(number: int) -> httpx2.Response:
        return openai.post(CHAT, json=chat(f"Question {number}?", max_tokens=4, stream=bool(number % 2)))

    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(one, range(64)))

    assert [answer.status_code for answer in answers] == [200] * 64
    for answer in answers:
        attempts_of.setdefault(answer.headers["X-TX81-Job"], []).append(answer)
    assert len(attempts_of) == len(servers)
    assert min(map(len, attempts_of.values())) >= 16


def test_a_server_that_is_killed_in_the_middle_of_a_stream_ends_it_with_an_error(serving, desk, openai):
    desk.fault(0, "slow 50 after=1")
    server = serving()

    with openai.stream("POST", CHAT, json=chat(stream=True, max_tokens=200, ignore_eos=True)) as answer:
        lines = answer.iter_lines()
        told = [next(lines)]
        server.process.kill()
        told += [line for line in lines if line]

    *spoken, last = [json.loads(line.removeprefix("data: ")) for line in told if line]
    assert {event["object"] for event in spoken} == {"chat.completion.chunk"}
    assert last["error"]["code"] == "server_failed"
    assert "[DONE]" not in "".join(told)


def test_a_server_that_is_gone_is_passed_over_while_its_row_still_stands(serving, openai):
    first, second = serving("0..3"), serving("4..7")
    first.process.kill()
    first.process.wait(10)

    answers = [openai.post(CHAT, json=chat(max_tokens=2)) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200] * 4
    assert second.process.poll() is None


def test_a_client_that_hangs_up_frees_the_card_group(serving, desk, openai):
    desk.fault(0, "slow 50 after=1")
    serving()

    with openai.stream("POST", CHAT, json=chat(stream=True, max_tokens=8000, ignore_eos=True)) as answer:
        next(answer.iter_lines())
    after = openai.post(CHAT, json=chat(max_tokens=2), timeout=20)

    assert after.status_code == 200


def test_an_error_of_the_server_is_told_as_it_is(serving, openai):
    serving()

    answer = openai.post(CHAT, json=chat(colour="blue"))

    assert answer.status_code == 400
    assert "colour is not supported" in answer.json()["message"]
