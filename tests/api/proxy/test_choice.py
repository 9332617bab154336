"""Which server a request goes to, and how its words are passed on: decided without a server."""

import json

import pytest

from api.http.errors import ServerFailed
from api.proxy.answers import LARGEST_EVENT, Events, Naming
from api.proxy.fleet import Upstream, best, is_plain

NOW = 1000.0


def a_server(**facts) -> Upstream:
    return Upstream(
        **{"attempt_id": 1, "job_id": 1, "model": "tiny", "served_id": "/m", "url": "http://a:1", "groups": 1}
        | {"created": 0, **facts}
    )


# ── the server ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_server_with_most_room_for_its_size_is_asked():
    small, large = a_server(groups=1, in_flight=1), a_server(groups=8, in_flight=7)

    assert best([small, large], NOW) is large


def test_of_servers_with_the_same_room_the_one_that_rested_longest_is_asked():
    earlier, later = a_server(chosen=3), a_server(chosen=4)

    assert best([later, earlier], NOW) is earlier


def test_a_server_that_just_failed_is_asked_only_if_there_is_no_other():
    failed, busy = a_server(avoided_until=NOW + 1), a_server(in_flight=50)

    assert best([failed, busy], NOW) is busy
    assert best([failed], NOW) is failed
    assert best([failed, busy], NOW + 2) is failed


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "http://lab1:8000", "http://[::1]:8000"])
def test_an_address_that_workers_write_is_called(url):
    assert is_plain(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "lab1:8000",
        "http://lab1",
        "http://:8000",
        "http://lab1:0",
        "http://lab1:99999",
        "http://lab1:port",
        "https://lab1:8000",
        "ftp://lab1:8000",
        "http://lab1:8000/",
        "http://lab1:8000/v1",
        "http://lab1:8000?a=b",
        "http://lab1:8000#a",
        "http://user:word@lab1:8000",
        "http://lab1:8000\r\nHost: other",
        "http://[lab1:8000",
    ],
)
def test_nothing_else_is_called(url):
    assert not is_plain(url)


# ── its words ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_the_model_has_the_name_that_was_asked_for(ascii_only, separators):
    served, asked = "/srv/模型\\d+", '通义"千问\\1'
    said = {"model": served, "choices": [{"model": "other", "text": served}]}

    named = Naming(served, asked)(json.dumps(said, ensure_ascii=ascii_only, separators=separators).encode())

    assert json.loads(named) == said | {"model": asked}


def test_what_a_model_says_about_itself_stays_as_it_is():
    said = json.dumps({"text": '{"model": "/srv/m"}'}).encode()

    assert Naming("/srv/m", "tiny")(said) == said


@pytest.mark.parametrize("end", ["\n\n", "\r\n\r\n"])
def test_only_whole_events_pass(end):
    events = Events(Naming("/srv/m", "tiny"))
    raw = f'data: {{"model": "/srv/m"}}{end}data: [DONE]{end}'.encode()

    told = [events.feed(raw[at : at + 1]) for at in range(len(raw))]

    assert b"".join(told) == raw.replace(b"/srv/m", b"tiny")
    assert len(list(filter(None, told))) == 2


def test_a_last_event_without_its_blank_line_is_not_lost():
    events = Events(Naming("/srv/m", "tiny"))

    told = events.feed(b"data: 1\n\ndata: 2\n"), events.rest()

    assert told == (b"data: 1\n\n", b"data: 2\n")


def test_an_event_without_end_is_not_gathered_for_ever():
    events = Events(Naming("/srv/m", "tiny"))
    events.feed(b"x" * LARGEST_EVENT)

    with pytest.raises(ServerFailed, match="an event of more than"):
        events.feed(b"x")
