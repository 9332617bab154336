"""From a change of state to a signed message that arrives, and what happens when it does not."""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import timedelta

import pytest
from builders.databases import both_databases
from builders.lifecycle import a_running_attempt, a_slot, finish, now, owner_of
from receiver import Receiver, receiving
from sqlalchemy import select, update

from orchestrator.errors import AlreadyExists, BadRequest, IllegalTransition, NotFound
from orchestrator.jobs import lifecycle
from orchestrator.jobs.lifecycle import Ending
from orchestrator.model.failures import Failure, FailureKind, Suspicion
from orchestrator.model.notifications import RETRY_SECONDS, DeliveryState, TargetRequest
from orchestrator.model.verdicts import Verdict
from orchestrator.settings import Settings
from orchestrator.slots import hosts, service
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Delivery, NotificationTarget, Slot
from orchestrator.suites import notifications
from orchestrator.suites.sending import KEPT, MOST_AT_ONCE, MessageSender

pytestmark = both_databases

SETTINGS = Settings(notify_loopback=True)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def sender(database: Database) -> MessageSender:
    return MessageSender(database, SETTINGS, chance=lambda: 0.5)


def a_target(database: Database, url: str, name: str = "lab") -> str | None:
    request = TargetRequest(name=name, url=url)
    return notifications.add_target(database, SETTINGS, request, by="ada")[1]


def announced(database: Database, old: Verdict | None, new: Verdict, subject: str = "suite nightly") -> int:
    with database.write() as session:
        return notifications.announce(session, subject, old, new, {"why": "latency +9 %"}, now=database.now(session))


def messages(database: Database) -> list[Delivery]:
    with database.read() as session:
        return list(session.scalars(select(Delivery).order_by(Delivery.id)))


def sent(sender: MessageSender) -> int:
    begun = sender.tend()
    sender.finish()
    return begun


def due_now(database: Database) -> None:
    with database.write() as session:
        session.execute(update(Delivery).where(Delivery.next_at.is_not(None)).values(next_at=now() - timedelta(1)))


def test_a_change_arrives_signed_and_is_noted(database, receiver, sender):
    secret = a_target(database, f"{receiver.url}/hook")

    assert announced(database, Verdict.SAME, Verdict.WORSE) == 1
    assert sent(sender) == 1

    (request,) = receiver.received
    told = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.body
    key = base64.b64decode(secret.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.new(key, told, hashlib.sha256).digest()).decode()
    assert request.headers["webhook-signature"] == f"v1,{expected}"
    document = json.loads(request.body)
    assert document["type"] == "verdict.worse"
    assert document["data"] == {
        "subject": "suite nightly", "text": "suite nightly is worse, was same: latency +9 %", "old": "same",
        "new": "worse", "why": "latency +9 %",
    }  # fmt: skip
    (row,) = messages(database)
    assert (row.state, row.attempts, row.last_status, row.next_at) == (DeliveryState.DELIVERED, 1, 204, None)
    assert sent(sender) == 0


def test_no_target_no_message_and_what_is_rolled_back_is_not_told(database, receiver):
    assert announced(database, Verdict.SAME, Verdict.WORSE) == 0
    a_target(database, receiver.url)
    with database.write() as session:
        notifications.announce(session, "s", Verdict.SAME, Verdict.WORSE, {}, now=now())
        session.rollback()

    assert messages(database) == []


def test_good_news_go_only_to_whom_the_bad_was_told(database, receiver):
    a_target(database, receiver.url, "first")
    announced(database, Verdict.SAME, Verdict.WORSE)
    a_target(database, receiver.url, "later")

    announced(database, Verdict.WORSE, Verdict.SAME)
    announced(database, Verdict.WORSE, Verdict.SAME)

    assert [(row.target, row.type) for row in messages(database)] == [
        ("first", "verdict.worse"), ("first", "verdict.recovered"),
    ]  # fmt: skip


def test_a_message_that_does_not_arrive_is_tried_again_later_and_given_up_in_the_end(database, receiver, sender):
    a_target(database, receiver.url)
    receiver.statuses = [500]
    announced(database, None, Verdict.WORSE)
    pauses = []
    for _ in RETRY_SECONDS:
        before = now()
        assert sent(sender) == 1
        (row,) = messages(database)
        assert (row.state, row.last_error) == (DeliveryState.PENDING, "the receiver answered 500")
        pauses.append((row.next_at - before).total_seconds())
        assert sent(sender) == 0
        due_now(database)
    sent(sender)

    (row,) = messages(database)
    assert (row.state, row.attempts, row.next_at) == (DeliveryState.FAILED, len(RETRY_SECONDS) + 1, None)
    assert [round(pause) for pause in pauses] == pytest.approx(RETRY_SECONDS, abs=3)
    assert len({request.headers["webhook-id"] for request in receiver.received}) == 1


def test_a_receiver_that_is_gone_for_good_is_not_asked_again(database, receiver, sender):
    a_target(database, receiver.url)
    receiver.statuses = [410]
    announced(database, None, Verdict.WORSE)

    sent(sender)

    assert messages(database)[0].state is DeliveryState.FAILED


def test_a_message_is_sent_again_by_hand_under_the_same_id(database, receiver, sender):
    a_target(database, receiver.url)
    first = notifications.test(database, "lab", by="ada")
    with pytest.raises(IllegalTransition, match="waiting to be sent"):
        notifications.resend(database, "lab", first.id)
    sent(sender)

    again = notifications.resend(database, "lab", first.id)
    sent(sender)

    assert again.message_id == first.message_id
    assert [request.headers["webhook-id"] for request in receiver.received] == [first.message_id] * 2
    with pytest.raises(NotFound):
        notifications.resend(database, "lab", first.id + 1)


def test_one_target_that_is_slow_holds_up_no_other_and_gets_one_message_at_a_time(database, receiver, sender):
    for name in ("a", "b"):
        a_target(database, receiver.url, name)
    for _ in range(3):
        for name in ("a", "b"):
            notifications.test(database, name, by="ada")

    assert [sent(sender) for _ in range(4)] == [2, 2, 2, 0]


def test_few_messages_are_sent_at_once(database, receiver, sender):
    for number in range(MOST_AT_ONCE + 2):
        a_target(database, receiver.url, f"t{number}")
    announced(database, None, Verdict.WORSE)

    assert [sent(sender), sent(sender)] == [MOST_AT_ONCE, 2]


def test_two_dispatchers_send_a_message_once(database, receiver):
    a_target(database, receiver.url)
    announced(database, None, Verdict.WORSE)
    one, other = MessageSender(database, SETTINGS), MessageSender(database, SETTINGS)

    begun = one.tend() + other.tend()
    one.finish()
    other.finish()

    assert begun == len(receiver.received) == 1


def test_a_message_whose_sender_died_is_sent_again(database, receiver, sender):
    a_target(database, receiver.url)
    announced(database, None, Verdict.WORSE)
    with database.write() as session:
        session.execute(update(Delivery).values(attempts=1, next_at=now() - timedelta(seconds=1)))

    assert sent(sender) == 1
    assert messages(database)[0].attempts == 2


def test_a_target_may_be_removed_while_messages_wait(database, receiver, sender):
    a_target(database, receiver.url)
    announced(database, None, Verdict.WORSE)

    notifications.remove_target(database, "lab", by="ada")

    assert (sent(sender), messages(database)) == (0, [])
    with pytest.raises(NotFound):
        notifications.remove_target(database, "lab", by="ada")


def test_old_messages_leave_the_log_and_waiting_ones_do_not(database, receiver, sender):
    a_target(database, receiver.url)
    announced(database, None, Verdict.WORSE)
    sent(sender)
    waiting = notifications.test(database, "lab", by="ada")
    with database.write() as session:
        session.execute(update(Delivery).values(created_at=now() - KEPT - timedelta(days=1)))

    assert sender.forget_old() == 1
    assert [row.id for row in messages(database)] == [waiting.id]


def test_a_name_is_taken_once_and_a_url_must_be_one_that_is_called(database, receiver):
    a_target(database, receiver.url)

    with pytest.raises(AlreadyExists):
        a_target(database, receiver.url)
    with pytest.raises(BadRequest, match="metadata"):
        a_target(database, "http://169.254.169.254/", "cloud")
    with database.read() as session:
        assert session.scalars(select(NotificationTarget.name)).all() == ["lab"]


# ── slots and hosts ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_quarantine_and_its_end_are_announced_once_each(database, receiver):
    a_target(database, receiver.url)
    with database.write() as session:
        a_slot(session, "g3")
        for _ in range(2):
            service.quarantine(session, "lab1.g3", by="ada", note="card 13 smells", now=now())
        session.get_one(Slot, "lab1.g3").quarantined_because = None
        for _ in range(2):
            service.resume(session, "lab1.g3", by="ada", note=None, now=now())
        service.drain(session, "lab1.g3", by="ada", note=None, now=now())
        service.resume(session, "lab1.g3", by="ada", note=None, now=now())

    assert [(row.type, row.subject, row.document["data"]["text"]) for row in messages(database)] == [
        ("slot.quarantined", "slot lab1.g3", "lab1.g3 is quarantined: card 13 smells"),
        ("slot.resumed", "slot lab1.g3", "lab1.g3 is back in service"),
    ]


def test_a_quarantine_by_the_end_of_an_attempt_is_announced(database, receiver):
    a_target(database, receiver.url)
    with database.write() as session:
        attempt = a_running_attempt(session, slot=a_slot(session, "g3"))
        ending = Ending(
            failure=Failure(kind=FailureKind.FAULT, reason="HPGR"), seconds=1.0, log_digest=None, log_bytes=0,
            suspicion=Suspicion(reason="device error on card 13", signature="hpgr"),
        )  # fmt: skip
        lifecycle.finish(session, attempt.id, ending, owner=owner_of(session, attempt.id), now=now(), max_attempts=3)

    (row,) = messages(database)
    assert (row.type, row.document["data"]["signature"]) == ("slot.quarantined", "hpgr")
    assert row.document["data"]["text"] == "lab1.g3 is quarantined: device error on card 13"


def test_a_host_that_goes_away_and_comes_back_is_announced(database, receiver):
    a_target(database, receiver.url)
    with database.write() as session:
        a_slot(session, "g0")
    hosts.note_presence(database, lost_after=timedelta(minutes=1))
    for beat in (now() - timedelta(hours=1), now()):
        with database.write() as session:
            session.get_one(Slot, "lab1.g0").heartbeat_at = beat
        hosts.note_presence(database, lost_after=timedelta(minutes=1))

    assert [(row.type, row.subject) for row in messages(database)] == [
        ("host.away", "host lab1"), ("host.back", "host lab1"),
    ]  # fmt: skip


def test_an_ordinary_job_announces_nothing(database, receiver):
    a_target(database, receiver.url)
    with database.write() as session:
        finish(session, a_running_attempt(session))

    assert messages(database) == []
