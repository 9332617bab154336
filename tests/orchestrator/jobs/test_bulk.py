"""Many jobs at once: written in order, queued together, assigned together, in statements that do not grow with them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from builders.databases import nothing_written
from builders.desk import Desk, convert, request_of
from builders.lifecycle import LEASE, a_job, a_slot, an_assigned_attempt, events_of, now
from sqlalchemy import event, select
from sqlalchemy.exc import IntegrityError

from orchestrator.jobs import bulk
from orchestrator.jobs.admission import ADMITTED_AT_ONCE
from orchestrator.jobs.bulk import Allocation
from orchestrator.model.states import JobState
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Artifact, Attempt, Job, Lease


@contextmanager
def _run(database: Database, verb: str) -> Iterator[list[tuple[str, Any]]]:
    """The statements of this kind that are run meanwhile, with what they are given."""
    seen: list[tuple[str, Any]] = []

    def note(_connection, _cursor, statement, parameters, *_):
        seen.extend([(statement, parameters)] if statement.startswith(verb) else [])

    event.listen(database.engine, "before_cursor_execute", note)
    yield seen
    event.remove(database.engine, "before_cursor_execute", note)


def test_jobs_submitted_together_are_queued_and_numbered_in_the_order_of_the_list(desk: Desk):
    spec = desk.infer()
    requests = [request_of({**spec, "max_tokens": 1 + number % 3}, name=f"job-{number}") for number in range(30)]

    made = desk.submission.jobs(requests)

    assert list(made.jobs) == sorted(made.jobs)
    with desk.database.read() as session:
        jobs = [session.get_one(Job, job) for job in made.jobs]
        assert [job.name for job in jobs] == [request.name for request in requests]
        assert [job.spec["max_tokens"] for job in jobs] == [1 + number % 3 for number in range(30)]
        assert {job.state for job in jobs} == {JobState.QUEUED}
        assert events_of(session, made.jobs[-1]) == ["job.created", "job.queued"]


def test_what_many_jobs_name_is_looked_up_once(desk: Desk):
    spec = desk.infer(kcore=desk.stored("kcore"), golden=desk.stored("golden"))

    def looked_up(count: int) -> int:
        different = [request_of({**spec, "max_tokens": 1 + number}) for number in range(count)]
        with _run(desk.database, "SELECT") as statements:
            desk.submission.jobs(different)
        return len(statements)

    looked_up(1)
    assert looked_up(50) == looked_up(1)


def test_a_file_that_many_jobs_name_is_listed_once(desk: Desk):
    prompts = desk.file("many.txt")

    desk.submission.jobs([request_of(desk.infer(prompts=prompts), name=f"job-{number}") for number in range(3)])

    with desk.database.read() as session:
        assert len(session.scalars(select(Artifact).where(Artifact.file_name == "many.txt")).all()) == 1


def test_of_very_many_builds_the_last_are_admitted_by_the_turns_that_follow(desk: Desk):
    builds = [request_of(convert(), use_cache=False)] * (ADMITTED_AT_ONCE + 1)
    made = desk.submission.jobs(builds)
    assert desk.states(*made.jobs) == [JobState.QUEUED] * ADMITTED_AT_ONCE + [JobState.WAITING]

    desk.promote()

    assert desk.states(made.jobs[-1]) == [JobState.QUEUED]


def test_jobs_that_wait_for_one_build_are_queued_together_when_it_has_succeeded(desk: Desk):
    compile_ = {"kind": "compile", "c_source": desk.stored("c_source")}
    infer = desk.infer(kcore={"job": "compile", "artifact": "kcore"})
    build, *rest = desk.pipeline({"compile": compile_, **{f"infer-{number}": infer for number in range(5)}})
    desk.build(build)

    desk.promote()

    assert desk.states(*rest) == [JobState.QUEUED] * 5


def test_jobs_that_left_the_queue_meanwhile_are_left_out_of_what_is_assigned(database: Database):
    with database.write() as session:
        a_slot(session, "g0")
        a_slot(session, "g1")
        gone, there = a_job(session, JobState.CANCELLED), a_job(session)
        wanted = [Allocation(gone.id, ("lab1.g0",), ""), Allocation(there.id, ("lab1.g1",), "it is free")]

        made = bulk.assign(session, wanted, now=now(), lease=LEASE)

        assert [each.job_id for _, each in made] == [there.id]
        assert session.scalars(select(Lease.slot_id)).all() == ["lab1.g1"]
        assert events_of(session, there.id)[-2:] == ["job.assigned", "attempt.assigned"]


def test_attempts_get_the_slots_that_were_wanted_for_their_jobs(database: Database):
    with database.write() as session:
        slots = [a_slot(session, f"g{number}").id for number in range(4)]
        jobs = [a_job(session) for _ in range(3)]
        wanted = zip(jobs, (slots[3:], slots[1:3], slots[:1]), strict=True)

        made = bulk.assign(session, [Allocation(job.id, on, "") for job, on in wanted], now=now(), lease=LEASE)

        leased = dict(session.execute(select(Lease.slot_id, Lease.attempt_id)).all())
        assert {each.job_id: set(each.slot_ids) for _, each in made} == {
            job.id: {slot for slot, attempt in leased.items() if session.get_one(Attempt, attempt).job_id == job.id}
            for job in jobs
        }


def test_what_is_assigned_is_found_by_its_number_however_long_the_queue(sqlite_url):
    database = Database(sqlite_url)
    with database.write() as session:
        slots = [a_slot(session, f"cpu{number}").id for number in range(64)]
        wanted = [Allocation(a_job(session).id, (slot,), "") for slot in slots]
        session.flush()
        with _run(database, "UPDATE job ") as updates:
            bulk.assign(session, wanted, now=now(), lease=LEASE)

        ((update, given),) = updates
        plan = session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {update}", given).all()
        assert "SEARCH job USING INTEGER PRIMARY KEY" in str(plan)
    database.close()


def test_one_slot_that_is_taken_refuses_all_assignments(database: Database):
    with database.write() as session:
        a_slot(session, "g0")
        an_assigned_attempt(session, slot=a_slot(session, "g1"))
        jobs = [a_job(session), a_job(session)]
    wanted = [Allocation(job.id, (f"lab1.g{number}",), "") for number, job in enumerate(jobs)]

    with nothing_written(database), pytest.raises(IntegrityError), database.write() as session:
        bulk.assign(session, wanted, now=now(), lease=LEASE)


def test_a_slot_that_two_jobs_shall_have_at_once_refuses_both(database: Database):
    with database.write() as session:
        a_slot(session, "g0")
        jobs = [a_job(session), a_job(session)]

    with nothing_written(database), pytest.raises(IntegrityError), database.write() as session:
        bulk.assign(session, [Allocation(job.id, ("lab1.g0",), "") for job in jobs], now=now(), lease=LEASE)
