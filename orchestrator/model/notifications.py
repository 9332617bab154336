"""Notifications: the words, which URLs and addresses are called, how a message is signed, and when it is tried again.

Pure.

Signatures are those of Standard Webhooks (github.com/standard-webhooks/standard-webhooks, v1, symmetric).
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field

from orchestrator.errors import BadRequest
from orchestrator.model.spec_words import Name, Strict

MOST_TARGETS = 100
SECRET_PREFIX = "whsec_"  # noqa: S105  # no secret, but how one begins
SECRET_BYTES = 32
"""Standard Webhooks: between 24 and 64."""

RETRY_SECONDS = (5, 30, 120, 600, 3600, 4 * 3600, 12 * 3600)
"""Pauses after the first, second … attempt that failed; after the last one it is given up, about 17 hours later."""

JITTER = 0.2
"""Pauses are longer or shorter by up to this part of them, so that many messages do not come at once."""

SERVICES = ("dingtalk", "feishu", "lark", "wecombot", "slack", "mailto", "mailtos")
"""Schemes of apprise that are taken: services with an address of their own, and mail. Others would call any address, or
programs of this host."""


class TargetKind(StrEnum):
    """How a target is reached."""

    WEBHOOK = "webhook"  #: POST of signed JSON.
    APPRISE = "apprise"  #: DingTalk, Feishu, Lark, WeCom, Slack or mail.


class DeliveryState(StrEnum):
    """The state of one message to one target."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"  #: Given up.


class News(StrEnum):
    """What is announced; each is a change of state."""

    WORSE = "verdict.worse"
    RECOVERED = "verdict.recovered"
    NOT_JUDGED = "verdict.not_judged"
    QUARANTINED = "slot.quarantined"
    RESUMED = "slot.resumed"
    AWAY = "host.away"
    BACK = "host.back"
    TEST = "notification.test"


GOOD_NEWS = frozenset({News.RECOVERED, News.RESUMED, News.BACK})
"""Sent only to a target that got the bad news before."""


class TargetRequest(Strict):
    """A target to add."""

    name: Name
    kind: TargetKind = TargetKind.WEBHOOK
    url: Annotated[str, Field(min_length=1, max_length=2000)] = Field(
        description="webhook: http:// or https://; apprise: dingtalk://, feishu://, lark://, wecombot://, slack://, "
        "mailto:// or mailtos://. It is never shown again."
    )


@dataclass(frozen=True)
class WebhookUrl:
    """A URL taken apart."""

    scheme: str
    host: str
    """As it is resolved, and as certificates name it."""
    port: int
    path: str
    """With the query."""

    @property
    def authority(self) -> str:
        """The value of `Host`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


_PORTS = {"http": 80, "https": 443}


def webhook_url(text: str) -> WebhookUrl:
    """The parts of a webhook's URL; BadRequest, without anything of the URL, which may be a secret, if it is none."""
    if re.fullmatch(r"[\x21-\x7e\u0080-\U0010ffff]+", text) is None or "\\" in text:
        raise _refused("it contains blanks, control characters or backslashes")
    try:
        parts = urlsplit(text)
        port, host = parts.port, parts.hostname
    except ValueError:
        raise _refused("its host or port is not valid") from None
    if parts.scheme not in _PORTS:
        raise _refused("it must begin with https:// or http://")
    if "@" in parts.netloc:
        raise _refused("it contains a user or a password: messages are signed, leave them out")
    if not host or "%" in host:
        raise _refused("it names no host")
    if parts.fragment:
        raise _refused("a fragment (#) is not sent: leave it out")
    if not f"{parts.path}{parts.query}".isascii():
        raise _refused("percent-encode all characters of its path that are not ASCII")
    try:
        plain = host if ":" in host else host.encode("idna").decode("ascii")
    except UnicodeError:
        raise _refused("its host is not a valid name") from None
    if port == 0:
        raise _refused("port 0 cannot be called")
    query = f"?{parts.query}" if parts.query else ""
    return WebhookUrl(parts.scheme, plain, port or _PORTS[parts.scheme], f"{parts.path or '/'}{query}")


def _refused(why: str) -> BadRequest:
    return BadRequest(f"this URL is not taken: {why}", field="url")


def masked(kind: TargetKind, url: str) -> str:
    """What may be shown of a URL: scheme and host of a webhook, the service of apprise. The rest may be a secret."""
    scheme, _, rest = url.partition("://")
    if kind is TargetKind.WEBHOOK:
        return f"{scheme}://{re.split(r'[/?#]', rest, maxsplit=1)[0].rpartition('@')[2]}/***"
    return f"{scheme}://***"


# ── signatures and retries ────────────────────────────────────────────────────────────────────────────────────────────


def new_secret(random: bytes) -> str:
    """A secret as it is shown to a person, made of random bytes."""
    return SECRET_PREFIX + base64.b64encode(random).decode()


def signed(secret: str, message_id: str, timestamp: int, body: bytes) -> Mapping[str, str]:
    """The headers by which a receiver checks who sent a message, and when (seconds since 1970)."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    told = f"{message_id}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.new(key, told, hashlib.sha256).digest()).decode()
    return {"webhook-id": message_id, "webhook-timestamp": str(timestamp), "webhook-signature": f"v1,{signature}"}


def pause_after(attempts: int, chance: float) -> float | None:
    """Seconds until the next attempt after so many that failed; None: it is given up. `chance` is from 0 to 1."""
    if attempts > len(RETRY_SECONDS):
        return None
    return RETRY_SECONDS[max(0, attempts - 1)] * (1 + JITTER * (2 * chance - 1))
