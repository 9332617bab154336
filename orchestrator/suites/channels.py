"""How a message leaves: by a signed webhook, or by a service that apprise knows. One function for both."""

import json
import logging
import time
from dataclasses import dataclass
from typing import Any

from orchestrator.errors import BadRequest
from orchestrator.model.notifications import SERVICES, TargetKind, signed, webhook_url
from orchestrator.settings import Settings
from orchestrator.storage.tables import Document
from orchestrator.suites.webhooks import CONNECT_SECONDS, READ_SECONDS, AddressRefused, NotSent, allowed_addresses, post

_GONE = 410
"""The receiver asks never to be called again."""


@dataclass(frozen=True)
class Message:
    """A message with all that is needed to send it."""

    kind: TargetKind
    url: str
    secret: str | None
    message_id: str
    document: Document


@dataclass(frozen=True)
class Sent:
    """What came of it."""

    error: str | None = None
    """None: it is delivered."""
    status: int | None = None
    final: bool = False
    """It would be the same next time."""


def check(kind: TargetKind, url: str, settings: Settings) -> None:
    """BadRequest if a URL cannot be used; a host whose name is not known now may be known later."""
    try:
        if kind is TargetKind.WEBHOOK:
            where = webhook_url(url)
            allowed_addresses(where.host, where.port, settings)
        else:
            _check_mail_server(_service(url), settings)
    except AddressRefused as refused:
        raise BadRequest(refused.detail, field="url") from None
    except NotSent:
        return


def send(message: Message, settings: Settings) -> Sent:
    """Send a message once; takes at most some tens of seconds."""
    try:
        if message.kind is TargetKind.WEBHOOK:
            return _by_webhook(message, settings)
        return _by_service(message, settings)
    except AddressRefused as refused:
        return Sent(refused.detail, final=True)
    except (NotSent, BadRequest) as trouble:
        return Sent(trouble.detail)


def _by_webhook(message: Message, settings: Settings) -> Sent:
    body = json.dumps(message.document, ensure_ascii=False).encode("utf-8", "backslashreplace")
    headers = {
        "Content-Type": "application/json", "User-Agent": "tx81-orchestrator",
        **signed(message.secret or "", message.message_id, int(time.time()), body),
    }  # fmt: skip
    status = post(webhook_url(message.url), headers, body, settings)
    if 200 <= status < 300:
        return Sent(status=status)
    why = "redirects, which are not followed" if 300 <= status < 400 else f"answered {status}"
    return Sent(f"the receiver {why}", status, final=status == _GONE)


def _by_service(message: Message, settings: Settings) -> Sent:
    service = _service(message.url)
    _check_mail_server(service, settings)
    data = message.document["data"]
    title, body = f"TX81: {data['subject']}", str(data["text"])
    if service.notify(title=title, body=body):
        return Sent()
    return Sent("the service did not take the message: check its URL, and whether this machine reaches it")


def _service(url: str) -> Any:
    """An object of apprise for a URL; BadRequest if it is none of those that are taken. It is imported only now."""
    scheme = url.partition("://")[0].lower()
    if scheme not in SERVICES:
        known = "://, ".join(SERVICES)
        raise BadRequest(f"this URL is not taken: it must begin with https://, http://, {known}://", field="url")
    import apprise

    # Its messages may quote parts of a URL.
    quiet = logging.getLogger("apprise")
    quiet.propagate, quiet.handlers = False, [logging.NullHandler()]
    asset = apprise.AppriseAsset(async_mode=False, secure_logging=True)
    service = apprise.Apprise.instantiate(url, asset=asset)
    if service is None:
        raise BadRequest(f"this URL is not one that {scheme}:// needs: see its documentation", field="url")
    # A URL may ask for long waits.
    service.retry, service.socket_connect_timeout, service.socket_read_timeout = 0, CONNECT_SECONDS, READ_SECONDS
    return service


def _check_mail_server(service: Any, settings: Settings) -> None:
    host = getattr(service, "smtp_host", None)
    if host:
        allowed_addresses(str(host), int(getattr(service, "port", None) or 25), settings)
