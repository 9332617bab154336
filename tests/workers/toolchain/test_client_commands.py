"""What is run to ask servers, and where it refuses to."""

import dataclasses
import json
import math
import sys
from pathlib import Path

import pytest
import yaml

from orchestrator.errors import BadSpec, EndpointClosed
from orchestrator.model.assignments import Assignment, InputArtifact, UsedEndpoint
from orchestrator.settings import SHIPPED_PROFILES
from workers.toolchain.commands import plan

WORK = Path("/work/cpu0/7.1")
DIGEST = "sha256:" + "0" * 64
INFER = "/opt/tx/txnn_1.2.1_build0307/script/run_infer"
SERVER = UsedEndpoint(3, "serve", 30, "http://127.0.0.1:20003", "/models/qwen", "h")


def client(*servers, **facts):
    used = [{"job": server, "artifact": "endpoint"} for server in servers or (3,)]
    endpoint = used if len(used) > 1 else used[0]
    return {"kind": "client", "endpoint": endpoint, "prompts": {"path": "/p"}, "max_tokens": 64, **facts}


def planned(spec, *endpoints, golden=False, **change):
    inputs = [InputArtifact("prompts", DIGEST, "q.txt"), *([InputArtifact("golden", DIGEST, "g")] if golden else [])]
    made = Assignment(
        attempt_id=1, number=1, job_id=7, job_name="j", slot_ids=("h.cpu0",), spec=spec,
        profile=yaml.safe_load((SHIPPED_PROFILES / "txnn_1.2.1_build0307.yaml").read_text()),
        release="r1", release_digest=DIGEST, root="/opt/tx", model=None, inputs=tuple(inputs),
        run_seconds=1, silence_seconds=1, log_bytes=1, seconds_left=math.inf, endpoints=endpoints or (SERVER,),
    )  # fmt: skip
    return plan(dataclasses.replace(made, **change), work=WORK)


def flags(made):
    return dict(zip(made.command.argv[2::2], made.command.argv[3::2], strict=True))


SCRIPTS = {
    "chat": "openai_chat_completion_client.py",
    "completion_llama": "openai_completion_client_llama.py",
    "chat_processes": "mul_process_online_client.py",
    "completion_llama_processes": "mul_process_online_client_completion_llama.py",
}


@pytest.mark.parametrize("program", SCRIPTS)
def test_the_vendors_clients_are_called_as_the_guide_says(program):
    made = planned(client(program=program, repeats=2, golden={"path": "/g"}), golden=True)

    assert made.command.argv[:2] == ("python", f"{INFER}/{SCRIPTS[program]}")
    assert flags(made) == {
        "-sp": "20003", "-pp": f"{WORK}/inputs/prompts/q.txt", "-s": f"{WORK}/out", "-rn": "2", "-mt": "64",
        "-gp": f"{WORK}/inputs/golden/g",
    }  # fmt: skip
    assert made.command.env["CONDA_DEFAULT_ENV"] == "tx8_txnn"


def test_one_server_is_listed_once_for_each_process():
    made = planned(client(program="chat_processes", processes=8))

    assert flags(made)["-sp"] == ",".join(["20003"] * 8)


def test_several_servers_are_listed_in_the_order_of_the_spec_and_used_in_turn():
    other = dataclasses.replace(SERVER, job_id=9, job_name="elsewhere", url="http://127.0.0.1:20009")

    made = planned(client(9, "serve", program="chat_processes", processes=5), SERVER, other)

    assert flags(made)["-sp"] == "20009,20003,20009,20003,20009"


def test_a_server_of_the_same_pipeline_is_known_by_its_name_beside_a_namesake_known_by_its_number():
    namesake = dataclasses.replace(SERVER, job_id=2, url="http://127.0.0.1:20002")

    made = planned(client("serve", 2, program="chat_processes"), namesake, SERVER)

    assert flags(made)["-sp"] == "20003,20002"


def test_the_load_client_is_our_own_and_gets_nothing_of_the_vendors_environment():
    made = planned(client(load={"rate": 2.5, "requests": 10, "goodput": {"ttft_seconds": 2}}))

    assert made.command.argv[:4] == (sys.executable, "-P", "-m", "workers.load")
    assert "--model=/models/qwen" in made.command.argv
    url, shape = (made.command.argv[made.command.argv.index(flag) + 1] for flag in ("--url", "--load"))
    assert url == "http://127.0.0.1:20003"
    assert json.loads(shape)["goodput"] == {"ttft_seconds": 2}
    assert not {"LD_LIBRARY_PATH", "CONDA_DEFAULT_ENV"} & made.command.env.keys()


def test_a_server_that_has_ended_before_the_client_began_is_named():
    with pytest.raises(EndpointClosed, match="server of job 4 has ended"):
        planned(client(4))


def test_a_client_on_another_host_is_told_where_it_has_to_be_pinned():
    elsewhere = dataclasses.replace(SERVER, host="lab2")
    reachable = dataclasses.replace(elsewhere, url="http://10.0.0.2:20003")

    for spec, server in ((client(), elsewhere), (client(program="chat"), reachable)):
        with pytest.raises(BadSpec, match=r"placed on h;.*placement: \{labels: \{host: lab2\}\}"):
            planned(spec, server)
    assert "http://10.0.0.2:20003" in planned(client(), reachable).command.argv


def test_the_vendors_clients_cannot_ask_a_server_that_listens_on_the_network_alone():
    with pytest.raises(BadSpec, match="use program load"):
        planned(client(program="chat"), dataclasses.replace(SERVER, url="http://10.0.0.1:20003"))
