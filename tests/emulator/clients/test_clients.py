"""The guide's four clients against real servers."""

import signal
import socket
import subprocess

import pytest
from eventually import eventually

CHAT, MANY = "openai_chat_completion_client.py", "mul_process_online_client.py"
LLAMA, MANY_LLAMA = "openai_completion_client_llama.py", "mul_process_online_client_completion_llama.py"


def test_the_chat_client_keeps_every_golden_answer_and_its_log(desk, serving):
    server = serving().ready()

    done = desk.client(CHAT, sp=server.port, gp=desk.places["golden"])

    rows = desk.responses()
    assert done.returncode == 0, done.stderr
    assert len(rows) == 85
    assert {row["similarity"] for row in rows} == {1.0}
    assert all(0 < row["ttft_seconds"] <= row["seconds"] for row in rows)
    assert list(desk.work.glob("TX8_online_batchsize_1_quest_quests_v1_bid_0_*.log"))
    assert "mean similarity 1.0000" in done.stdout


def test_rounds_and_max_tokens_are_the_guides(desk, serving):
    server = serving().ready()

    desk.client(CHAT, sp=server.port, pp=desk.ask("Who are you?", "你是谁？"), rn=2, mt=5)

    rows = desk.responses()
    assert [(row["round"], row["question_index"]) for row in rows] == [(1, 0), (1, 1), (2, 0), (2, 1)]
    assert {(row["output_tokens"], row["finish_reason"]) for row in rows} == {(5, "length")}


def test_the_llama_client_asks_for_a_completion_of_the_bare_question(desk, serving):
    server = serving().ready()

    done = desk.client(LLAMA, sp=server.port, pp=desk.ask("Who are you?"), mt=9)

    _, direct = server.call("/v1/completions", {"model": server.model, "prompt": "Who are you?", "max_tokens": 9})
    assert done.returncode == 0, done.stderr
    assert [row["response"] for row in desk.responses()] == [direct["choices"][0]["text"]]


@pytest.mark.parametrize("script", [MANY, MANY_LLAMA])
def test_many_processes_share_one_server(desk, serving, script):
    server = serving(cn="0..31").ready()
    ports = ",".join([str(server.port)] * 8)

    done = desk.client(script, sp=ports, pp=desk.ask("Who are you?"), mt=20)

    rows = desk.responses()
    assert done.returncode == 0, done.stderr
    assert sorted(row["batch"] for row in rows) == list(range(8))
    assert len({row["response"] for row in rows}) == 1
    assert len(list(desk.work.glob("TX8_online_batchsize_8_quest_asked_bid_*_*.log"))) == 8


def test_many_processes_have_a_server_each_and_one_that_fails_stops_no_other(desk, serving):
    servers = [serving(cn="0..3").ready(), serving(cn="4..7").ready()]
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        ports = f"{servers[0].port},{nobody.getsockname()[1]},{servers[1].port}"

        done = desk.client(MANY, sp=ports, pp=desk.ask("Who are you?"))

    assert done.returncode == 1
    assert "Connection refused" in done.stderr
    assert "1 of 3 processes failed: bid 1" in done.stderr
    assert sorted(row["batch"] for row in desk.responses()) == [0, 2]


def test_an_answer_that_the_servers_end_cut_short_is_a_failure(desk, serving):
    desk.fault(0, "slow 50 after=1")
    server = serving().ready()
    child = start(desk, CHAT, server.port)
    eventually(lambda: desk.events("fault"))

    server.ended()

    assert child.wait(30) == 1
    assert "the server ended before the answer did" in desk.terminal()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_parent_leaves_no_process_behind(desk, serving, number):
    desk.fault(0, "slow 50 after=1")
    server = serving().ready()
    child = start(desk, MANY, f"{server.port},{server.port}")
    eventually(lambda: desk.events("fault"))

    child.send_signal(number)

    assert child.wait(30) == 130
    eventually(lambda: not running(desk, MANY))


def test_an_error_of_the_server_is_the_clients_last_line(desk, serving):
    server = serving(max_model_len=64).ready()

    done = desk.client(CHAT, sp=server.port, pp=desk.ask("Who are you?"), mt=2048)

    assert done.returncode == 1
    assert "400 This model's maximum context length is 64 tokens" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("script", "flags", "reason"),
    [
        (CHAT, {"sp": "80,81"}, "not a number from 1 to 65535"),
        (MANY, {"sp": "8000,"}, "list of at most"),
        (MANY, {}, "required"),
        (CHAT, {"mt": 8193}, "not a number from 1 to 8192"),
        (CHAT, {"pp": "nowhere.txt"}, "No such file"),
        (CHAT, {"x": 1}, "unrecognized arguments"),
    ],
)
def test_a_wrong_call_is_refused(desk, script, flags, reason):
    done = desk.client(script, **flags)

    assert done.returncode == 2
    assert reason in done.stderr


def start(desk, script, ports):
    """A client left running."""
    argv = ["python", str(desk.places["infer"] / script), "-sp", str(ports), "-s", "./"]
    with (desk.work / "terminal").open("w") as log:
        return subprocess.Popen(
            [*argv, "-pp", str(desk.places["prompts"])], cwd=desk.work, env=desk.environment(), stdout=log, stderr=log
        )


def running(desk, script):
    """Processes of that script that work for this desk."""
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in listed if script in line and str(desk.home) in line]
