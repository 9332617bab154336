"""When a server is stopped, and when it is not started again any more."""

from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.model.serving import LONG_ENOUGH, Served, died_at_once, why_stop
from orchestrator.model.specs import ServeSpec

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LONG, BRIEF, NEVER = LONG_ENOUGH, LONG_ENOUGH - timedelta(seconds=1), None


def _spec(**facts) -> ServeSpec:
    return ServeSpec.model_validate({"model": "qwen", "kcore": {"digest": f"sha256:{'a' * 64}"}, **facts})


def _after(seconds: int) -> datetime:
    return NOON + timedelta(seconds=seconds)


def _ready(**facts) -> Served:
    return Served(began_at=NOON, ready_at=NOON, **facts)


def test_a_server_that_nobody_has_ever_used_is_idle_since_it_was_ready():
    spec = _spec(idle_seconds=60)

    assert why_stop(spec, _ready(), _after(59)) is None
    assert why_stop(spec, _ready(), _after(60)) == "not used for 60 s (idle_seconds)"


def test_each_use_puts_the_end_of_an_idle_server_off():
    spec = _spec(idle_seconds=60)

    assert why_stop(spec, _ready(used_at=_after(50)), _after(109)) is None
    assert why_stop(spec, _ready(used_at=_after(50)), _after(110)) is not None


def test_a_use_that_a_clock_dates_before_the_start_changes_nothing():
    assert why_stop(_spec(idle_seconds=60), _ready(used_at=_after(-3600)), _after(59)) is None


def test_a_server_without_an_idle_limit_lives_its_life():
    spec = _spec(idle_seconds=None, life_seconds=7200)

    assert why_stop(spec, _ready(), _after(7199)) is None
    assert why_stop(spec, _ready(), _after(7200)) == "it has run for its life_seconds (7200 s)"


def test_a_life_goes_on_counting_while_a_server_is_replaced():
    spec = _spec(idle_seconds=None, life_seconds=100)

    assert why_stop(spec, Served(began_at=NOON), _after(100)) == "it has run for its life_seconds (100 s)"


def test_a_server_that_is_not_ready_yet_is_not_idle():
    assert why_stop(_spec(idle_seconds=1, life_seconds=1), Served(), _after(1000)) is None


def test_a_server_is_not_idle_while_a_job_that_uses_it_still_waits():
    assert why_stop(_spec(idle_seconds=60), _ready(clients=2, unfinished=1), _after(600)) is None


@pytest.mark.parametrize(
    ("until", "siblings", "stopped"),
    [("clients_ended", 0, True), ("clients_ended", 1, True), (None, 1, True), (None, 0, False), ("stopped", 1, False)],
)
def test_a_server_ends_with_its_clients_if_that_is_asked_for_or_they_are_of_its_pipeline(until, siblings, stopped):
    why = why_stop(_spec(until=until), _ready(clients=1, siblings=siblings), _after(1))

    assert (why is not None) == stopped


def test_a_server_waits_for_the_last_of_its_clients_and_for_the_first():
    spec = _spec(until="clients_ended")

    assert why_stop(spec, _ready(clients=3, unfinished=1, siblings=3), _after(1)) is None
    assert why_stop(spec, _ready(), _after(1)) is None


def test_a_server_whose_clients_have_all_ended_is_not_even_started():
    assert why_stop(_spec(), Served(clients=1, siblings=1), NOON) is not None


@pytest.mark.parametrize(
    ("lives", "count"),
    [
        ([], 0),
        ([NEVER], 1),
        ([NEVER, BRIEF, BRIEF], 3),
        ([BRIEF, LONG], 0),
        ([BRIEF, BRIEF, LONG, NEVER], 1),
        ([LONG, BRIEF, LONG, BRIEF, BRIEF], 2),
    ],
)
def test_only_deaths_after_the_last_long_life_are_counted(lives, count: int):
    assert died_at_once(lives) == count
