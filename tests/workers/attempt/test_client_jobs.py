"""Clients from claim to report: the real load client and a script, against a server that a test speaks for."""

import json
import threading
from contextlib import contextmanager
from dataclasses import replace

import pytest
from builders.lifecycle import owner_of
from eventually import eventually
from openai_stub import MODEL, answer, openai_stub
from sqlalchemy import select, update

from orchestrator.jobs import endpoints, lifecycle
from orchestrator.model.slots import SlotKind
from orchestrator.model.states import JobState, ServiceState, Until
from orchestrator.storage.tables import Answer, Artifact, Attempt, Endpoint, JobNeed, Metric, Slot

SERVE = {"kind": "serve", "model": "tiny-model", "kcore": {"job": 1, "artifact": "kcore"}, "groups": 1}
WORKER = "worker of the server"


@pytest.fixture
def server(lab):
    """Open the endpoint of a server in SQL, which answers at `url`: the id of its attempt."""

    def opened(url, slot="g0"):
        with lab.database.write() as session:
            session.add(Slot(id=f"lab.{slot}", host="lab", name=slot, kind=SlotKind.CARD_GROUP, worker=WORKER))
        attempt_id = lab.assigned(SERVE, slot=slot)
        with lab.database.write() as session:
            now, owner = lab.database.now(session), owner_of(session, attempt_id, WORKER)
            assert lifecycle.claim(session, attempt_id, owner=owner, now=now, lease=lab.settings.lease)
            endpoints.announce(session, attempt_id, owner=owner, url=url, served_id=MODEL, now=now)
        return attempt_id

    return opened


@pytest.fixture
def client(lab):
    """Assign a client of these servers: the id of its attempt."""

    def assigned(*servers, prompts="你好？\nWho?\n", golden=None, **facts):
        jobs = [lab.attempt(server).job_id for server in servers]
        used = [{"job": job, "artifact": "endpoint"} for job in jobs]
        spec = {
            "kind": "client", "endpoint": used if len(used) > 1 else used[0], "prompts": {"path": "/p"},
            "max_tokens": 7, **facts,
        }  # fmt: skip
        inputs = {"prompts": lab.stored("q.txt", prompts)}
        if golden is not None:
            inputs["golden"], spec["golden"] = lab.stored("g.jsonl", golden), {"path": "/g"}
        attempt_id = lab.assigned(spec, inputs, slot="cpu0")
        with lab.database.write() as session:
            job_id = session.get_one(Attempt, attempt_id).job_id
            session.add_all(JobNeed(job_id=job_id, needs_id=job, until=Until.READY) for job in jobs)
        return attempt_id

    return assigned


def end(lab, attempt_id):
    """The worker of the server reports its end."""
    with lab.database.write() as session:
        now = lab.database.now(session)
        ending = lifecycle.Ending(failure=None, seconds=1.0, log_digest=None, log_bytes=0)
        lifecycle.finish(
            session, attempt_id, ending, owner=owner_of(session, attempt_id, WORKER), now=now, max_attempts=1
        )


def answers(lab, attempt_id):
    with lab.database.read() as session:
        rows = select(Answer).where(Answer.attempt_id == attempt_id)
        return session.scalars(rows.order_by(Answer.batch, Answer.repeat, Answer.index)).all()


def metrics(lab, attempt_id):
    with lab.database.read() as session:
        return {row.name: row for row in session.scalars(select(Metric).where(Metric.attempt_id == attempt_id))}


def outputs(lab, attempt_id):
    with lab.database.read() as session:
        return set(session.scalars(select(Artifact.name).where(Artifact.attempt_id == attempt_id)))


def echo(body):
    return answer("答：", body["messages"][0]["content"])


def test_a_load_becomes_answers_and_numbers_of_its_own_definitions(lab, cpu0, server, client):
    golden = "\n".join(json.dumps({"question": q, "answer": a}) for q, a in (("你好？", "答：你好？"), ("Who?", "me")))
    with openai_stub(echo) as stub:
        attempt_id = client(
            server(stub.url), golden=golden, require="report", repeats=2, load={"concurrency": 2, "warmup": 1}
        )

        lab.run(attempt_id, cpu0)

    assert lab.job(attempt_id).state is JobState.SUCCEEDED, lab.job(attempt_id).failure
    assert [(row.repeat, row.index, row.text, row.exact) for row in answers(lab, attempt_id)] == [
        (1, 0, "答：你好？", True), (1, 1, "答：Who?", False), (2, 0, "答：你好？", True), (2, 1, "答：Who?", False),
    ]  # fmt: skip
    found = metrics(lab, attempt_id)
    assert (found["exact_answers"].value, found["exact_answers"].count) == (2, 4)
    assert (found["ttft_seconds_p50"].definition, found["ttft_seconds_p50"].count) == ("ttft_seconds/sent_to_first", 4)
    assert (found["output_tokens"].value, found["output_tokens"].counter) == (8, "server")
    assert found["failed_requests"].value == 0
    assert outputs(lab, attempt_id) == {"answers", "times", "metrics", "log"}


def test_a_load_whose_answers_miss_their_golden_fails_and_keeps_them(lab, cpu0, server, client):
    golden = json.dumps({"question": "Who?", "answer": "me"})
    with openai_stub(echo) as stub:
        attempt_id = client(server(stub.url), golden=golden)

        lab.run(attempt_id, cpu0)

    assert lab.job(attempt_id).failure["kind"] == "wrong_answers"
    assert "1 of 1 answers are not the golden answers: prompt 1 “Who?”" in lab.job(attempt_id).failure["reason"]
    assert len(answers(lab, attempt_id)) == 2
    assert metrics(lab, attempt_id)["exact_answers"].count == 1


def test_a_load_of_which_some_requests_failed_has_succeeded_and_says_so(lab, cpu0, server, client):
    def say(body):
        return (503, "too many") if body["messages"][0]["content"] == "Who?" else echo(body)

    with openai_stub(say) as stub:
        attempt_id = client(server(stub.url))

        lab.run(attempt_id, cpu0)

    assert lab.job(attempt_id).state is JobState.SUCCEEDED
    assert (metrics(lab, attempt_id)["failed_requests"].value, len(answers(lab, attempt_id))) == (1, 1)


def test_a_client_that_nobody_answers_has_failed_by_itself_while_the_server_is_there(lab, cpu0, server, client):
    with openai_stub(lambda body: (400, "max_tokens is too large")) as stub:
        attempt_id = client(server(stub.url))

        lab.run(attempt_id, cpu0)

    failure = lab.job(attempt_id).failure
    assert (failure["kind"], failure["exit_code"]) == ("tool", 1)
    assert failure["reason"] == "none of 2 requests was answered: 2 × http_400 (exit code 1)"


def test_what_a_server_says_of_its_cards_does_not_speak_against_the_seat_of_its_client(lab, cpu0, server, client):
    with openai_stub(lambda body: (500, "card is gone")) as stub:
        attempt_id = client(server(stub.url))

        lab.run(attempt_id, cpu0)

    assert lab.job(attempt_id).failure["kind"] == "tool"
    with lab.database.read() as session:
        assert session.get_one(Slot, "lab.cpu0").service_state is ServiceState.IN_SERVICE


def test_a_client_whose_server_is_dead_does_not_fail_for_itself(lab, cpu0, server, client):
    with openai_stub(echo) as stub:
        serving = server(stub.url)
    attempt_id = client(serving)

    lab.run(attempt_id, cpu0)

    failure = lab.attempt(attempt_id).failure
    assert failure["kind"] == "server_gone"
    assert lab.job(attempt_id).state is JobState.WAITING
    assert f"at {stub.url} does not answer (Connection refused)" in failure["reason"]
    assert "after 0 of 2 requests" in failure["reason"]
    with lab.database.read() as session:
        needs = session.scalars(select(JobNeed).where(JobNeed.job_id == lab.attempt(attempt_id).job_id)).all()
        assert [need.gone_attempt_id for need in needs] == [serving]


def test_a_client_whose_server_ended_meanwhile_says_so(lab, cpu0, server, client):
    with openai_stub(lambda body: (end(lab, serving), (503, "the server is shutting down"))[1]) as stub:
        serving = server(stub.url)
        attempt_id = client(serving, prompts="one\n")

        lab.run(attempt_id, cpu0)

    failure = lab.job(attempt_id).failure
    assert failure["kind"] == "server_gone"
    assert failure["reason"].startswith(f"the server of job {lab.attempt(serving).job_id} ended meanwhile: none of 1")


def test_a_client_that_comes_too_late_starts_nothing(lab, cpu0, server, client):
    serving = server("http://127.0.0.1:1")
    attempt_id = client(serving)
    end(lab, serving)

    lab.run(attempt_id, cpu0)

    assert lab.job(attempt_id).failure["kind"] == "server_gone"
    assert lab.attempt(attempt_id).pid is None


def test_while_a_client_runs_its_server_is_used(lab, cpu0, server, client):
    asked, go = threading.Event(), threading.Event()

    def say(body):
        asked.set()
        go.wait(30)
        return echo(body)

    with openai_stub(say) as stub, cleared(go):
        serving = server(stub.url)
        running = lab.run_aside(client(serving, prompts="one\n"), cpu0)
        asked.wait(30)
        with lab.database.write() as session:
            session.execute(update(Endpoint).values(last_used_at=None))

        eventually(lambda: used_at(lab, serving))
        go.set()
        running.join()


@contextmanager
def cleared(event):
    try:
        yield
    finally:
        event.set()


def used_at(lab, attempt_id):
    with lab.database.read() as session:
        return session.get_one(Endpoint, attempt_id).last_used_at


SCRIPT = """
for port in $(echo "$1" | tr , ' '); do
    batch=${batch:-0}
    printf '{"b": %s, "r": 1, "i": 0, "q": "one", "a": "from %s"}\\n' $batch $port > "$3/$batch.jsonl"
    batch=$((batch + 1))
done
touch TX8_online_1.log
"""


def test_a_script_of_several_processes_leaves_a_batch_for_each(lab, cpu0, server, client):
    lab.tool(SCRIPT)
    first, second = server("http://127.0.0.1:1001", "g0"), server("http://127.0.0.1:1002", "g1")
    attempt_id = client(first, second, program="chat_processes", processes=3, prompts="one\n")

    lab.run(attempt_id, cpu0)

    assert lab.job(attempt_id).state is JobState.SUCCEEDED, lab.job(attempt_id).failure
    assert [(row.batch, row.text) for row in answers(lab, attempt_id)] == [
        (0, "from 1001"), (1, "from 1002"), (2, "from 1001"),
    ]  # fmt: skip
    assert outputs(lab, attempt_id) == {"answers", "log", "vendor_log"}


@contextmanager
def elsewhere(lab, cpu0, *allowed):
    """The same seat, whose host may ask these servers."""
    yield replace(cpu0, settings=lab.settings.model_copy(update={"endpoint_hosts": allowed}))


@pytest.fixture
def asking(lab):
    """Assign a client of a server elsewhere: the id of its attempt."""

    def assigned(url, **facts):
        spec = {"kind": "client", "endpoint": {"url": url}, "prompts": {"path": "/p"}, "max_tokens": 7, **facts}
        return lab.assigned(spec, {"prompts": lab.stored("q.txt", "Who?\n")}, slot="cpu0")

    return assigned


def test_a_server_that_was_not_started_here_is_asked_if_the_host_allows_it(lab, cpu0, asking):
    with openai_stub(echo) as stub, elsewhere(lab, cpu0, f"localhost:{stub.port}") as seat:
        attempt_id = asking(f"http://localhost:{stub.port}")
        lab.run(attempt_id, seat)

    assert lab.job(attempt_id).state is JobState.SUCCEEDED
    assert [one["model"] for one in stub.asked] == [MODEL]
    # A name is looked up once, and the server sees the name all the same.
    command = lab.attempt(attempt_id).command["argv"]
    assert f"--host=localhost:{stub.port}" in command
    assert f"http://127.0.0.1:{stub.port}" in command


def test_the_vendors_clients_ask_a_server_elsewhere_only_on_their_own_host(lab, cpu0, asking):
    lab.tool('echo "$1" > "$3"')
    with openai_stub(echo) as stub, elsewhere(lab, cpu0, "127.0.0.1:1", f"127.0.0.1:{stub.port}") as seat:
        attempt_id = asking(f"http://127.0.0.1:{stub.port}", program="chat_processes")
        lab.run(attempt_id, seat)

    assert str(stub.port) in lab.attempt(attempt_id).command["argv"]


@pytest.mark.parametrize(
    ("url", "allowed", "kind", "says"),
    [
        ("http://127.0.0.1:1", (), "bad_spec", "127.0.0.1:1 is not in TX81_ENDPOINT_HOSTS"),
        ("http://169.254.169.254:80", ("169.254.169.254",), "bad_spec", "keeps its metadata"),
        ("http://0.0.0.0:80", ("0.0.0.0",), "bad_spec", "is unspecified"),
        ("http://127.1:80", ("127.1",), "bad_spec", "is loopback"),
        ("http://127.0.0.1:1", ("127.0.0.1:1",), "server_gone", "127.0.0.1:1 does not answer (Connection refused)"),
    ],
)
def test_a_server_elsewhere_that_may_not_or_cannot_be_asked_is_not(lab, cpu0, asking, url, allowed, kind, says):
    with elsewhere(lab, cpu0, *allowed) as seat:
        attempt_id = asking(url)
        lab.run(attempt_id, seat)

    failure = lab.job(attempt_id).failure
    assert (lab.job(attempt_id).state, failure["kind"], lab.attempt(attempt_id).pid) == (JobState.FAILED, kind, None)
    assert says in failure["reason"]


def test_a_server_elsewhere_that_redirects_is_not_followed(lab, cpu0, asking):
    with openai_stub(lambda body: (307, "elsewhere")) as stub, elsewhere(lab, cpu0, f"127.0.0.1:{stub.port}") as seat:
        attempt_id = asking(f"http://127.0.0.1:{stub.port}")
        lab.run(attempt_id, seat)

    assert "http_307" in lab.job(attempt_id).failure["reason"]
