import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice

import httpx2
import pytest
from builders.databases import both_databases
from builders.rows import A_MOMENT, a_job_row, an_attempt, an_event
from eventually import eventually

from api.client.client import ApiError, Client
from api.documents.jobs import JobDetail
from orchestrator.jobs import lifecycle
from orchestrator.model.states import AttemptState, JobState
from orchestrator.storage import live_logs
from orchestrator.storage.artifacts import ArtifactStore
from orchestrator.storage.database import Database
from orchestrator.storage.logs import seal
from orchestrator.storage.tables import Attempt, Job

pytestmark = both_databases

CHINESE = "编译完成:你好，世界\n"


@pytest.fixture
def helper() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


def a_running_job(database: Database, log: bytes = b"", **facts) -> tuple[int, int]:
    with database.write() as session:
        job = a_job_row(session, state=JobState.RUNNING, **facts)
        attempt = an_attempt(session, job)
        live_logs.append(session, attempt.id, 0, log)
        return job.id, attempt.id


def end(database: Database, job_id: int, attempt_id: int, **attempt) -> None:
    with database.write() as session:
        for name, value in {"state": AttemptState.SUCCEEDED, **attempt}.items():
            setattr(session.get_one(Attempt, attempt_id), name, value)
        lifecycle.move(session, job_id, start=JobState.RUNNING, to=JobState.SUCCEEDED, now=A_MOMENT)


def raw_events(client: Client, path: str, **headers: str) -> Iterator[httpx2.ServerSentEvent]:
    with client._connection._http.sse(path, headers=headers) as source:
        yield from source


def test_a_log_is_told_while_it_grows_until_the_job_has_ended(client, database, helper):
    job, attempt = a_running_job(database, b"one\n")
    pieces = client.stream_log(job)

    first = next(pieces)
    with database.write() as session:
        live_logs.append(session, attempt, 4, b"two\n")
    second = next(pieces)
    end(database, job, attempt)

    assert (first.text, first.offset, second.text, second.offset) == ("one\n", 4, "two\n", 8)
    assert list(pieces) == []


def test_a_character_that_is_cut_in_two_is_told_once_and_whole(client, database):
    whole = CHINESE.encode()
    job, attempt = a_running_job(database, whole[:4])
    pieces = client.stream_log(job)

    first = next(pieces)
    with database.write() as session:
        live_logs.append(session, attempt, 4, whole[4:])
    end(database, job, attempt)
    rest = "".join(piece.text for piece in pieces)

    assert (first.text, first.offset) == ("编", 3)
    assert first.text + rest == CHINESE


def test_a_stream_that_broke_inside_a_character_goes_on_with_that_character(client, database):
    whole = CHINESE.encode()
    job, attempt = a_running_job(database, whole[:4])
    seen = next(event for event in raw_events(client, f"/jobs/{job}/log/stream") if "text" in event.data)
    with database.write() as session:
        live_logs.append(session, attempt, 4, whole[4:])
    end(database, job, attempt)

    resumed = list(raw_events(client, f"/jobs/{job}/log/stream", **{"Last-Event-ID": seen.id}))

    assert seen.id == "1:3"
    assert "".join(json.loads(event.data).get("text", "") for event in resumed if event.data) == CHINESE[1:]
    assert resumed[-1].event == "end"
    assert json.loads(resumed[-1].data) == {
        "attempt": 1,
        "offset": len(whole),
        "state": "succeeded",
        "bytes": len(whole),
    }


def test_bytes_that_are_no_text_are_replaced_and_the_offsets_still_count_bytes(client, database):
    job, attempt = a_running_job(database, b"\xff\xfe ok\xe7")
    end(database, job, attempt)

    pieces = list(client.stream_log(job))

    assert "".join(piece.text for piece in pieces) == "\ufffd\ufffd ok\ufffd"
    assert pieces[-1].offset == 6


def test_a_log_that_is_sealed_while_it_is_followed_is_told_to_its_end(client, database, store, tmp_path):
    job, attempt = a_running_job(database, b"live ")
    pieces = client.stream_log(job)
    first = next(pieces)

    sealed = a_sealed_log(store, tmp_path, b"live and sealed")
    with database.write() as session:
        live_logs.drop(session, attempt)
        session.get_one(Attempt, attempt).log_digest = sealed
    end(database, job, attempt)

    assert first.text + "".join(piece.text for piece in pieces) == "live and sealed"


def test_a_log_stream_goes_on_to_the_next_attempt(client, database):
    job, attempt = a_running_job(database, b"first try")
    with database.write() as session:
        session.get_one(Attempt, attempt).state = AttemptState.LOST
        second = an_attempt(session, session.get_one(Job, job), number=2)
        live_logs.append(session, second.id, 0, b"second try")
        later = second.id
    end(database, job, later)

    from_first, latest = list(client.stream_log(job, attempt=1)), list(client.stream_log(job))

    assert [(piece.attempt, piece.text) for piece in from_first] == [(1, "first try"), (2, "second try")]
    assert [(piece.attempt, piece.text) for piece in latest] == [(2, "second try")]


def test_a_log_is_followed_from_the_end_of_its_tail(client, database):
    job, attempt = a_running_job(database, CHINESE.encode() * 3)
    tail = client.log_tail(job, 1)
    with database.write() as session:
        live_logs.append(session, attempt, tail.offset, b"next")
    end(database, job, attempt)

    followed = list(client.stream_log(job, tail.offset, tail.attempt))

    assert tail.content.decode() == CHINESE
    assert [piece.text for piece in followed] == ["next"]


def test_the_log_stream_of_a_job_that_never_ran_ends_at_once(client, database):
    with database.write() as session:
        job = a_job_row(session, state=JobState.SKIPPED).id

    assert list(client.stream_log(job)) == []


def test_following_the_log_of_an_unknown_job_is_refused_before_the_stream_begins(client):
    with pytest.raises(ApiError) as refusal:
        next(client.stream_log(999))

    assert refusal.value.status == 404


def test_following_an_attempt_that_is_not_there_is_refused(client, database):
    job, _ = a_running_job(database)

    with pytest.raises(ApiError, match="no attempt 7"):
        next(client.stream_log(job, attempt=7))


def test_events_after_a_number_come_in_order_and_none_is_left_out(client, database):
    with database.write() as session:
        first, *rest = [an_event(session).id for _ in range(450)]

    told = [event.id for event in islice(client.events(after=first), len(rest))]

    assert told == rest


def test_an_event_whose_transaction_commits_late_is_not_passed_by(client, database):
    if database.is_sqlite:
        pytest.skip("writers queue on SQLite: no transaction can overtake another")
    stream = client.events(after=0)

    with database.write() as slow:
        late = an_event(slow, kind="late").id
        with database.write() as fast:
            early = an_event(fast, kind="early").id
        rolled_back(database)
        # Others that commit meanwhile wake the stream many times.
        for _ in range(5):
            with database.write() as session:
                an_event(session)
        assert next(raw_events(client, "/events")).id == "0"

    assert late < early
    assert [event.id for event in islice(stream, 2)] == [late, early]


def test_a_number_that_was_rolled_back_holds_nothing_up(client, database):
    rolled_back(database)
    with database.write() as session:
        told = an_event(session).id

    assert next(client.events(after=0)).id == told


def test_events_written_by_many_threads_all_arrive(client, database, helper):
    stream = client.events(after=0)

    def write(_: int) -> None:
        for _ in range(10):
            with database.write() as session:
                an_event(session)

    list(helper.map(write, range(4)))

    assert len({event.id for event in islice(stream, 40)}) == 40


def test_a_stream_without_a_number_tells_only_what_happens_from_now_on(client, database):
    with database.write() as session:
        old = an_event(session).id
    assert eventually(lambda: int(next(raw_events(client, "/events")).id) == old)
    stream = raw_events(client, "/events")
    next(stream)

    with database.write() as session:
        new = an_event(session, kind="slot.announced").id

    assert next(stream).id == str(new)


def test_events_are_narrowed_to_jobs_and_to_a_pipeline(client, database):
    with database.write() as session:
        job, other = a_job_row(session), a_job_row(session)
        an_event(session, other)
        wanted = an_event(session, job).id
        asked = job.id

    told = next(client.events(after=0, jobs=[asked]))

    assert (told.id, told.job_id) == (wanted, asked)


def test_waiting_returns_when_every_job_has_ended(client, database, helper):
    job, attempt = a_running_job(database)
    with database.write() as session:
        ended = a_job_row(session, state=JobState.SUCCEEDED).id
    waiting = helper.submit(client.wait, [job, ended], 20)

    end(database, job, attempt)

    assert {number: found.state for number, found in waiting.result().items()} == {
        job: JobState.SUCCEEDED,
        ended: JobState.SUCCEEDED,
    }


def test_waiting_gives_up_after_its_time(client, database):
    job, _ = a_running_job(database)

    with pytest.raises(TimeoutError):
        client.wait([job], timeout=0.3)


def test_open_streams_do_not_keep_the_server_from_stopping(served, client, database):
    job, _ = a_running_job(database, b"text")
    followed = raw_events(client, f"/jobs/{job}/log/stream")
    next(followed)
    listened = raw_events(client, "/events")
    next(listened)

    served.should_exit = True

    assert [event for event in listened if event.data] == []
    assert all(event.event != "end" for event in followed)


def test_streams_go_on_without_a_gap_when_the_server_comes_back(serve, settings, token, database, helper):
    job, attempt = a_running_job(database, b"before ")
    with database.write() as session:
        before = an_event(session).id
    with Observed(f"http://127.0.0.1:{settings.api_port}", token) as client:
        events, pieces = client.events(after=0), client.stream_log(job)
        with serve():
            assert (next(events).id, next(pieces).text) == (before, "before ")
            waiting = helper.submit(client.wait, [job], 30)
            assert client.looked.wait(10)

        with database.write() as session:
            live_logs.append(session, attempt, 7, b"after")
            after = an_event(session).id
        with serve():
            assert (next(events).id, next(pieces).text) == (after, "after")
            end(database, job, attempt)
            assert waiting.result()[job].state is JobState.SUCCEEDED


def test_a_stream_ends_when_its_client_has_gone(served, client, database):
    job, _ = a_running_job(database, b"text")

    for _ in range(3):
        next(client.stream_log(job))

    assert eventually(lambda: not served.server_state.tasks)


class Observed(Client):
    """Tells when it has looked at a job: from then on a wait has seen its server."""

    def __init__(self, base_url: str, token: str) -> None:
        super().__init__(base_url, token)
        self.looked = threading.Event()

    def job(self, job: int) -> JobDetail:
        detail = super().job(job)
        self.looked.set()
        return detail


def a_sealed_log(store: ArtifactStore, folder, content: bytes) -> str:
    (folder / "raw.log").write_bytes(content)
    seal(folder / "raw.log", folder / "raw.zst")
    return store.put_file(folder / "raw.zst").digest


def rolled_back(database: Database) -> None:
    with suppress(InterruptedError), database.write() as session:
        an_event(session)
        raise InterruptedError
