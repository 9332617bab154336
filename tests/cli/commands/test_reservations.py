import sqlite3
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from cli.input.times import duration, moment
from cli.pages.layout import local_time
from cli.session import Stop

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def host(site, at_site, request) -> str:
    """A host of its own, whose two slots have no worker."""
    name = f"lab-{abs(hash(request.node.name)) % 10**8}.example"
    database = sqlite3.connect(site.token_file.with_name("tx81.db"))
    with database:
        for slot in ("g0", "g1"):
            database.execute(
                "INSERT INTO slot (id, host, name, kind, service_state) VALUES (?, ?, ?, 'card_group', 'in_service')",
                (f"{name}.{slot}", name, slot),
            )
    database.close()
    return name


def test_a_slot_is_reserved_for_two_hours_listed_and_given_back(tx81, host):
    slot = f"{host}.g1"

    made = tx81("reserve", slot, "--for", "2h", "--note", "换散热器", "--project", "bringup", "--output", "json")
    listed, on_slot = tx81("reservations", "--slot", slot), tx81("slots")
    ended = tx81("unreserve", made.document["id"], "--note", "done", "--output", "json")

    lasts = datetime.fromisoformat(made.document["ends_at"]) - datetime.fromisoformat(made.document["starts_at"])
    assert (made.code, made.document["slots"], lasts) == (0, [slot], timedelta(hours=2))
    assert (listed.code, listed.out.count("换散热器")) == (0, 1)
    assert "by admin for project bringup: 换散热器" in on_slot.out
    assert (ended.code, ended.document["state"]) == (0, "cancelled")
    assert slot not in tx81("reservations", "--slot", slot).out
    assert slot in tx81("reservations", "--slot", slot, "--past").out


def test_a_host_whose_name_has_dots_means_all_its_slots(tx81, host):
    made = tx81("reserve", host, "--for", "90m", "--output", "json")

    assert made.document["slots"] == [f"{host}.g0", f"{host}.g1"]


def test_times_are_those_of_this_machine_unless_they_name_a_zone(tx81, host):
    start = (datetime.now() + timedelta(hours=30)).replace(microsecond=0)  # noqa: DTZ005  # as a person reads a clock

    made = tx81(
        "reserve", f"{host}.g0", "--from", start.isoformat(sep=" "),
        "--until", (start + timedelta(hours=1)).astimezone(UTC).isoformat(), "--output", "json",
    )  # fmt: skip

    assert datetime.fromisoformat(made.document["starts_at"]) == start.astimezone()
    assert datetime.fromisoformat(made.document["ends_at"]) == start.astimezone() + timedelta(hours=1)


def test_a_slot_that_someone_has_is_refused_in_one_line_that_names_them(tx81, host):
    tx81("reserve", f"{host}.g0", "--for", "1h", "--note", "mine")

    ran = tx81("reserve", host, "--for", "1h")

    assert (ran.code, ran.out, ran.err.count("\n")) == (5, "", 1)
    assert "admin" in ran.err
    assert "mine" in ran.err


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["reserve", "--for", "1h"], "name slots"),
        (["reserve", "lab1.g0"], "--until"),
        (["reserve", "lab1.g0", "--for", "1h", "--until", "14:00"], "either --until"),
        (["reserve", "lab1.g0", "--for", "soon"], "--for"),
        (["reserve", "lab1.g0", "--for", "0m"], "--for"),
        (["reserve", "lab1.g0", "--for", "31d"], "seconds"),
        (["reserve", "lab1.g0", "--for", "1h", "--from", "25:00"], "--from"),
        (["reserve", "lab1.g0", "--until", "yesterday"], "--until"),
        (["reserve", "lab1.g0", "--until", "0001-01-01"], "--until"),
        (["reserve", "lab1.g0", "--for", "1h", "--project", "../x"], "project"),
        (["reserve", "nowhere.g0", "--for", "1h"], "nowhere.g0"),
        (["reserve", "--", "--all", "--for"], "--until"),
        (["unreserve", "4711"], "4711"),
        (["unreserve", "x"], "x"),
    ],
)
def test_wrong_usage_is_one_line_that_names_the_remedy(at_site, tx81, argv, told):
    ran = tx81(*argv)

    assert (ran.code in (2, 5), ran.out, ran.err.count("\n")) == (True, "", 1)
    assert told in ran.err


@pytest.mark.parametrize(
    ("text", "seconds"), [("90m", 5400), ("90min", 5400), ("2h", 7200), ("1h30m", 5400), ("1d12h", 129600), ("45s", 45)]
)
def test_a_duration_is_written_as_people_say_it(text, seconds):
    assert duration(text, "--for") == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "h", "1", "-1h", "1.5h", "1h 30m", "٣h", "9" * 400 + "d", "2h\n"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(Stop, match="--for"):
        duration(text, "--for")


@pytest.fixture
def machine_in(monkeypatch) -> Iterator[Callable[[str], None]]:
    """Sets the zone of this machine."""

    def stand(zone: str) -> None:
        monkeypatch.setenv("TZ", zone)
        time.tzset()

    yield stand
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(("text", "hours"), [("22:30", 2.5), ("20:00", 24), ("19:59", 24 - 1 / 60), ("8:00", 12)])
def test_a_time_of_day_is_the_next_one_of_this_machine(machine_in, text, hours):
    machine_in("CST-8")

    assert moment(text, "--from", after=NOON) == NOON + timedelta(hours=hours)


def test_a_time_of_day_is_that_of_the_wall_clock_when_it_was_put_forward_over_night(machine_in):
    machine_in("CET-1CEST,M3.5.0,M10.5.0/3")

    found = moment("13:00", "--until", after=datetime(2026, 3, 28, 12, 0, tzinfo=UTC))

    assert found == datetime(2026, 3, 29, 11, 0, tzinfo=UTC)


CENTRAL_EUROPE = "CET-1CEST,M3.5.0,M10.5.0/3"


@pytest.mark.parametrize(
    ("zone", "text", "what", "readings"),
    [
        (
            CENTRAL_EUROPE,
            "2026-10-25 02:30",
            "exists twice",
            ("02:30+02:00' (2026-10-25 00:30", "02:30+01:00' (2026-10-25 01:30"),
        ),
        (
            CENTRAL_EUROPE,
            "2026-03-29T02:30",
            "does not exist",
            ("01:30+01:00' (2026-03-29 00:30", "03:30+02:00' (2026-03-29 01:30"),
        ),
        # Clocks are set forward at midnight there: a date alone may not exist.
        (
            "<-03>3<-02>,M9.1.0/0,M4.1.0/0",
            "2026-09-06",
            "does not exist",
            ("23:00-03:00' (2026-09-06 02:00", "01:00-02:00' (2026-09-06 03:00"),
        ),
    ],
)
def test_a_local_time_that_clocks_skip_or_show_twice_is_refused_with_both_readings(
    machine_in, zone, text, what, readings
):
    machine_in(zone)

    with pytest.raises(Stop, match=f"--from: .* {what} in the time zone") as refused:
        moment(text, "--from", after=NOON)

    assert [reading in str(refused.value) for reading in readings] == [True, True]


@pytest.mark.parametrize(
    ("after", "text", "found"),
    [
        ("2026-10-24T12:00Z", "02:30", None),
        ("2026-10-25T00:45Z", "02:30", None),  # 02:45, the first time: it comes once more
        ("2026-10-25T01:45Z", "02:30", "2026-10-26T01:30Z"),  # 02:45, the second time
        ("2026-03-28T12:00Z", "02:30", None),
        ("2026-03-29T01:10Z", "02:30", "2026-03-30T00:30Z"),  # 03:10: today's is past
        ("2026-10-24T12:00Z", "03:00", "2026-10-25T02:00Z"),
    ],
)
def test_a_time_of_day_is_refused_on_the_day_on_which_it_is_no_single_moment(machine_in, after, text, found):
    machine_in(CENTRAL_EUROPE)
    start = datetime.fromisoformat(after)

    if found is None:
        with pytest.raises(Stop, match="write '"):
            moment(text, "--until", after=start)
    else:
        assert moment(text, "--until", after=start) == datetime.fromisoformat(found)


def test_with_an_offset_every_time_is_one_moment(machine_in):
    machine_in(CENTRAL_EUROPE)

    assert moment("2026-10-25 02:30+02:00", "--from", after=NOON) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert moment("2026-10-25 02:30+01:00", "--from", after=NOON) == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    assert moment("2026-03-29 02:30+01:00", "--from", after=NOON) == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)


def test_a_time_that_is_printed_names_its_zone_and_is_taken_back(machine_in):
    machine_in(CENTRAL_EUROPE)
    second = datetime(2026, 10, 25, 1, 30, tzinfo=UTC)

    assert local_time(second) == "2026-10-25 02:30+01:00"
    assert moment(local_time(second), "--from", after=NOON) == second


def test_a_time_without_a_zone_is_of_this_machine(machine_in):
    machine_in("CST-8")

    assert moment("2026-03-01 20:00", "--from", after=NOON) == NOON
    assert moment("2026-03-01T12:00Z", "--from", after=NOON) == NOON
