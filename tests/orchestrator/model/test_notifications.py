"""Which URLs and addresses are called, how a message is signed, and when it is tried again."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import BadRequest
from orchestrator.model.notifications import (
    RETRY_SECONDS,
    TargetKind,
    masked,
    new_secret,
    pause_after,
    signed,
    webhook_url,
)


def test_a_signature_is_that_of_the_standards_own_example():
    headers = signed(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )

    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == ("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330")


def test_a_secret_is_shown_as_the_standard_spells_it():
    assert new_secret(bytes(32)) == "whsec_" + "A" * 43 + "="


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("https://hooks.example.com/t/abc?x=1", ("https", "hooks.example.com", 443, "/t/abc?x=1", "hooks.example.com")),
        ("http://10.0.0.7:8080", ("http", "10.0.0.7", 8080, "/", "10.0.0.7:8080")),
        ("http://[fd00::7]/h", ("http", "fd00::7", 80, "/h", "[fd00::7]")),
        ("https://münchen.example/", ("https", "xn--mnchen-3ya.example", 443, "/", "xn--mnchen-3ya.example")),
    ],
)
def test_a_url_is_taken_apart(url, parts):
    found = webhook_url(url)

    assert (found.scheme, found.host, found.port, found.path, found.authority) == parts


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h/secret", "file:///etc/passwd", "https://", "https:///secret", "h/secret", "https://u:secret@h/",
        "https://h/a b", "https://h/\r\nX: secret", "https://h:99999/", "https://h:0/", "https://h:x/secret",
        "https://h/#secret", "https://h/密", "https://[::1/secret", "https://[fe80::1%25eth0]/", "https://" + "a" * 300,
        "https://h\\@secret", "gopher://h/", "https://exa mple/",
    ],
)  # fmt: skip
def test_a_url_that_cannot_be_called_is_refused_without_being_quoted(url):
    with pytest.raises(BadRequest) as refused:
        webhook_url(url)

    assert refused.value.field == "url"
    assert "secret" not in refused.value.detail


@given(st.text(max_size=60))
def test_any_text_is_a_url_or_refused(text):
    for url in (text, f"https://{text}"):
        with suppress(BadRequest):
            assert webhook_url(url).path.startswith(("/", "?"))


def test_only_scheme_and_host_of_a_url_are_shown():
    assert masked(TargetKind.WEBHOOK, "https://hooks.example.com:8443/T/secret?k=secret") == (
        "https://hooks.example.com:8443/***"
    )
    assert masked(TargetKind.APPRISE, "mailto://user:secret@host/secret") == "mailto://***"


def test_pauses_grow_and_end():
    pauses = [pause_after(attempt, 0.5) for attempt in range(1, 10)]

    assert pauses == [*RETRY_SECONDS, None, None]
    assert (pause_after(1, 0.0), pause_after(1, 1.0)) == (4.0, 6.0)
