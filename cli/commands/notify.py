"""The commands about notifications: who gets messages about changes of state, and the deliveries."""

import sys
import time
from collections.abc import Iterable
from typing import Annotated

from cyclopts import App, Parameter
from rich.table import Table

from api.client.client import Client
from api.documents.notifications import DeliveryView, TargetView
from cli.input.documents import validated
from cli.input.numbers import Limit
from cli.pages.layout import local_time, row, table
from cli.session import HERE, Exit, Session, Stop, hint
from orchestrator.model.notifications import DeliveryState, TargetKind, TargetRequest

app = App(name="notify", help="Messages about changes, sent to targets: `add`, `test`, `log`, `resend`, `remove`.")

_PATIENCE = 40.0
"""Seconds in which a test message is delivered, or has failed once."""


@app.default
def targets(*, session: Session = HERE) -> Exit:
    """List targets: webhooks and services, without their secrets."""
    with session.client() as client:
        found = client.notifications.targets()
        session.emit(found, _targets_table(found))
    return Exit.OK


app.command(targets, name="list")


@app.command
def add(name: str, url: Annotated[str, Parameter(allow_leading_hyphen=True)], /, *, session: Session = HERE) -> Exit:
    """Add a target and print the secret of its signatures. It is shown only once.

    Parameters
    ----------
    url
        http:// or https:// of a webhook, or dingtalk://, feishu://, lark://, wecombot://, slack://, mailto://,
        mailtos:// as apprise writes them; - reads it from standard input, so that it is in no list of processes.
    """
    place = sys.stdin.readline().strip() if url == "-" else url
    kind = TargetKind.WEBHOOK if place.lower().startswith(("http://", "https://")) else TargetKind.APPRISE
    with session.client() as client:
        made = client.notifications.add(validated(TargetRequest, {"name": name, "kind": kind, "url": place}))
        shown = _targets_table([made])
        session.emit(made, shown)
        if made.secret is not None and not session.as_json:
            print(made.secret)
            hint("keep this secret: the receiver checks signatures with it, and it is not shown again")
    return Exit.OK


@app.command(name="test")
def send_test(name: str, /, *, session: Session = HERE) -> Exit:
    """Send a test message and wait for its outcome; exit 4 if it does not arrive at once."""
    with session.client() as client:
        ended = _outcome(client, client.notifications.test(name))
        session.emit(ended, _messages_table([ended]))
    return Exit.OK if ended.state is DeliveryState.DELIVERED else Exit.FAULT


@app.command
def log(name: str, /, *, limit: Limit = 50, session: Session = HERE) -> Exit:
    """List the messages of a target, newest first, with their outcome.

    Parameters
    ----------
    limit
        Number of entries at most, up to 500.
    """
    with session.client() as client:
        found = client.notifications.deliveries(name, limit).items
        session.emit(found, _messages_table(found))
    return Exit.OK


@app.command
def resend(name: str, message: int, /, *, session: Session = HERE) -> Exit:
    """Send a message again, with the same webhook-id."""
    with session.client() as client:
        made = client.notifications.resend(name, message)
        session.emit(made, _messages_table([made]))
    return Exit.OK


@app.command
def remove(name: str, /, *, session: Session = HERE) -> Exit:
    """Remove a target and the log of its messages."""
    with session.client() as client:
        client.notifications.remove(name)
        found = client.notifications.targets()
        session.emit(found, _targets_table(found))
    return Exit.OK


def _outcome(client: Client, message: DeliveryView) -> DeliveryView:
    """The message once it was tried; `Stop` if nobody sends it."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        found = next(each for each in client.notifications.deliveries(message.target).items if each.id == message.id)
        if found.state is not DeliveryState.PENDING or found.last_error is not None:
            return found
        time.sleep(0.2)
    raise Stop(f"message {message.id} was not sent within {_PATIENCE:g} s: does a dispatcher run?", Exit.FAULT)


def _targets_table(targets: Iterable[TargetView]) -> Table:
    shown = table("target", "kind", "url", "added by", "added")
    for target in targets:
        row(shown, target.name, target.kind, target.url, target.created_by, local_time(target.created_at))
    return shown


def _messages_table(messages: Iterable[DeliveryView]) -> Table:
    shown = table("message", "type", "subject", "state", "attempts", "next", "outcome", right={"message", "attempts"})
    for message in messages:
        following = None if message.next_at is None else local_time(message.next_at, "seconds")
        outcome = message.last_error or (None if message.last_status is None else f"answered {message.last_status}")
        row(shown, message.id, message.type, message.subject, message.state, message.attempts, following, outcome)
    return shown
