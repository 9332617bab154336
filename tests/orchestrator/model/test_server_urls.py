"""Servers elsewhere: which URLs are taken, and which of them the settings allow."""

import pytest
from pydantic import ValidationError

from orchestrator.model.client_specs import ClientSpec
from orchestrator.model.server_urls import ServerUrl, refusal

CLIENT = {"kind": "client", "prompts": {"path": "/p"}}


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://10.0.0.5:8000", "http://10.0.0.5:8000"),
        ("http://LAB2:8000/v1/", "http://lab2:8000"),
        ("http://lab2", "http://lab2:80"),
        ("http://[FD12::7]:8000", "http://[fd12::7]:8000"),
    ],
)
def test_a_url_is_a_host_and_a_port(given, url):
    assert ServerUrl(url=given).url == url


@pytest.mark.parametrize(
    "url",
    [
        "https://lab2:8000", "file:///etc/passwd", "http://", "http://:8000", "http://lab2:0", "http://lab2:99999",
        "http://lab2:8000/admin", "http://lab2:8000?x=1", "http://lab2:8000#x", "http://lab2\\@other:80",
        "http://lab 2:8000", "http://user:hunter2@lab2:8000", "http://lab2%2eevil:8000", "http://l\u00e4b:8000", "41",
    ],
)  # fmt: skip
def test_what_is_no_plain_address_is_refused_without_the_password_in_it(url):
    with pytest.raises(ValidationError) as refused:
        ServerUrl(url=url)

    assert "hunter2" not in refused.value.errors()[0]["msg"]


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://lab2:8000", ["lab2:8000"]),
        ("http://lab2.:8000", ["LAB2"]),
        ("http://[fd12:0::7]:8000", ["[fd12::7]:8000"]),
        ("http://[fd12:0::7]:8000", ["[fd12::7]"]),
    ],
)
def test_a_listed_host_may_be_asked_however_it_is_spelled(url, allowed):
    assert refusal(ServerUrl(url=url), allowed) is None


@pytest.mark.parametrize("allowed", [[], ["lab2:8001"], ["lab22"], ["2:8000"], ["lab2.example:8000"]])
def test_what_is_not_listed_may_not_be_asked(allowed):
    assert "TX81_ENDPOINT_HOSTS" in (refusal(ServerUrl(url="http://lab2:8000"), allowed) or "")


def test_a_client_asks_jobs_or_servers_elsewhere():
    url, job = {"url": "http://lab2:8000"}, {"job": 41, "artifact": "endpoint"}

    one = ClientSpec.model_validate({**CLIENT, "endpoint": url})
    several = ClientSpec.model_validate(
        {**CLIENT, "endpoint": [url, {"url": "http://lab2:8001"}], "program": "chat_processes"}
    )
    with pytest.raises(ValidationError, match="not both"):
        ClientSpec.model_validate({**CLIENT, "endpoint": [url, job], "program": "chat_processes"})

    assert (len(one.elsewhere), one.servers, len(several.elsewhere)) == (1, (), 2)
